"""A real TimescaleDB for tests: the server beside the project, with a database in which the extension is made."""

import shutil
import subprocess
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from embedded.child import free_port

BESIDE = Path(__file__).parents[2] / "shared" / "bin" / "timescaledb"
START_S = 60
_number = count(1)


def timescale_program() -> str:
    """Return the program beside the project or on PATH; skip the test where there is none."""
    found = str(BESIDE) if BESIDE.exists() else shutil.which("timescaledb")
    if found is None:
        pytest.skip("no timescaledb at ../shared/bin/timescaledb or on PATH")
    return found


class TimescaleServer:
    """One server. A program that does not run is an error, never a skip. `stop()` must be called."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._program = timescale_program()
        self._address = ""

    def start(self) -> None:
        """Start it; a port that somebody took between choosing and binding is chosen anew, twice at most."""
        for remaining in reversed(range(3)):
            told = self._run("start", "--data", str(self._data), "--port", str(free_port()))
            if not told.returncode:
                self._address = told.stdout.strip()
                return
            if not remaining:
                raise RuntimeError(f"timescaledb does not run: {told.stderr[-2000:]}")

    def stop(self) -> None:
        """Stop the server that was started here."""
        if self._address:
            self._run("stop", "--data", str(self._data))

    async def new_database(self, *, extension: bool = True) -> str:
        """Make a database, empty but for the extension, and return its address."""
        name = f"test_{next(_number)}"
        connection = await asyncpg.connect(self._address)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        url = f"{self._address.rpartition('/')[0]}/{name}"
        if extension:
            await make_extension(url)
        return url

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        # Its server keeps what it inherits: a pipe would stay open as long as it runs.
        paths = [self._data.with_name(f"program.{name}") for name in ("out", "err")]
        with paths[0].open("w") as out, paths[1].open("w") as err:
            ended = subprocess.run([self._program, *words], stdout=out, stderr=err, timeout=START_S, check=False)
        return subprocess.CompletedProcess(words, ended.returncode, *(path.read_text() for path in paths))


async def make_extension(url: str) -> None:
    """Make the extension in a database, and keep its own job from logging an error that means nothing here."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE EXTENSION timescaledb")
        await connection.execute("UPDATE _timescaledb_config.bgw_job SET scheduled = false WHERE id = 3")
    finally:
        await connection.close()
