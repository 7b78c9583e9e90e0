"""The parts that are our own Python programs: simulator, worker, REST interface."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from embedded.child import Child, ChildSpec, answers, python_module, until
from embedded.data_directory import DataDirectory

_START_TIMEOUT_S: Final = 60
_NONCE_WINDOW_MS: Final = 10_000


def _told_by(path: Path) -> dict[str, Any]:
    """Return what a ready file says; empty while it is absent or half written."""
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told


class Simulator:
    """A local venue. Its data and its log carry its name."""

    def __init__(
        self,
        data: DataDirectory,
        *,
        port: int,
        control_port: int,
        arguments: Sequence[str],
        protocol: Literal["binance", "kraken"] = "binance",
    ) -> None:
        self.name = "simulator" if protocol == "binance" else f"simulator-{protocol}"
        self._directory = data.path / self.name
        self._ports = (port, control_port)
        self._log_path = data.log_path(self.name)
        self._ready_path = data.run / f"{self.name}.json"
        # Worker and REST interface share the account's key, so its nonces come a little out of order.
        own = ("--protocol", protocol, "--nonce-window-ms", str(_NONCE_WINDOW_MS)) if protocol == "kraken" else ()
        self._arguments = (*own, *arguments)

    @property
    def venue_url(self) -> str:
        """Address that ccxt is pointed at."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def control_url(self) -> str:
        """Address of its ledger of what truly happened, and of its faults."""
        return f"http://127.0.0.1:{self._ports[1]}"

    def spec(self) -> ChildSpec:
        """Return how it is run."""
        self._ready_path.unlink(missing_ok=True)
        argv = [*python_module("simulator"), "--host", "127.0.0.1", "--port", str(self._ports[0])]
        argv += ["--control-port", str(self._ports[1]), "--data-dir", str(self._directory)]
        argv += ["--ready-file", str(self._ready_path), "--parent-pid", str(os.getpid()), *self._arguments]
        return ChildSpec(name=self.name, argv=argv, log_path=self._log_path, stop_timeout_s=3, is_ours=False)

    async def until_ready(self, child: Child) -> None:
        """Wait until it has written its ready file."""

        async def told() -> bool:
            return _told_by(self._ready_path).get("pid") == child.pid

        await until(told, child=child, timeout_s=_START_TIMEOUT_S)


class WorkerProcess:
    """One worker. It writes a ready file once it polls."""

    def __init__(
        self, number: int, *, environment: Mapping[str, str], log_path: Path, run_dir: Path, graceful_s: int
    ) -> None:
        self.name = "worker" if number == 1 else f"worker-{number}"
        self._number = number
        self._environment = environment
        self._log_path = log_path
        self._ready_path = run_dir / f"{self.name}.json"
        self._graceful_s = graceful_s

    def spec(self) -> ChildSpec:
        """Return how it is run. An orphan is killed at once: without its servers it has nothing to finish."""
        self._ready_path.unlink(missing_ok=True)
        own = {
            "WORKER__NUMBER": str(self._number),
            "WORKER__READY_FILE": str(self._ready_path),
            "WORKER__GRACEFUL_SHUTDOWN_S": str(self._graceful_s),
        }
        return ChildSpec(
            name=self.name,
            argv=python_module("worker"),
            log_path=self._log_path,
            env={**self._environment, **own},
            stop_timeout_s=self._graceful_s + 2,
            orphan_signal=signal.SIGKILL,
        )

    async def until_ready(self, child: Child) -> None:
        """Wait until it polls."""

        async def told() -> bool:
            return _told_by(self._ready_path).get("pid") == child.pid

        await until(told, child=child, timeout_s=_START_TIMEOUT_S)


def _accepts(url: str) -> bool:
    """Tell whether somebody takes connections there."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=1).close()
    except OSError:
        return False
    return True


class ApiProcess:
    """The REST interface."""

    name = "api"

    def __init__(self, url: str, *, environment: Mapping[str, str], log_path: Path) -> None:
        self.url = url
        self._environment = environment
        self._log_path = log_path

    def spec(self) -> ChildSpec:
        """Return how it is run."""
        return ChildSpec(
            name=self.name,
            argv=[*python_module("cli.main"), "api"],
            log_path=self._log_path,
            env=self._environment,
            stop_timeout_s=3,
            orphan_signal=signal.SIGKILL,
        )

    async def until_ready(self, child: Child) -> None:
        """Wait until it answers."""

        async def alive() -> bool:
            if self.url.startswith("https://"):  # whose certificate, and whether it asks for ours, is not our matter
                return await asyncio.to_thread(_accepts, self.url)
            return await answers(f"{self.url}/health/live") is not None

        await until(alive, child=child, timeout_s=_START_TIMEOUT_S)
