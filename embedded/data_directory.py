"""The folder that a stack keeps everything in: one owner at a time, and nothing left over from the last one."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from domain.errors import ConfigurationError

_LEFTOVER_PATIENCE_S: Final = 8.0
_BIRTH_TOLERANCE_S: Final = 0.05


def write_atomically(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON that only its owner may read; whoever reads the file sees the old or the new text, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    draft.replace(path)


class DataDirectory:
    """Layout of the folder. As a context manager, it holds the folder's lock.

    Raises
    ------
    ConfigurationError
        On entry, when another stack holds the lock or the folder cannot be written; the message names its pid.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.run = self.path / "run"
        self.logs = self.path / "logs"
        self.ready_path = self.run / "ready.json"
        """Where commands on this machine look for the addresses of the stack that runs here."""
        self._children_path = self.run / "children.json"
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            for folder in (self.path, self.run, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.run / "supervisor.lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"data directory {self.path} cannot be used: {error.strerror}", advice="Choose another with --data-dir."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise ConfigurationError(
                f"data directory {self.path} is in use by the stack with pid {owner}",
                advice="Stop that one, or choose another folder with --data-dir.",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def log_path(self, name: str) -> Path:
        """Return where a part's output goes."""
        return self.logs / f"{name}.log"

    def remember(self, pids: Iterable[int]) -> None:
        """Write down who our children are, for the next owner of the folder."""
        born: dict[str, float] = {}
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                born[str(pid)] = psutil.Process(pid).create_time()
        write_atomically(self._children_path, born)

    async def clear_leftovers(self) -> None:
        """End children of a supervisor that was killed: wait for those that are ending, then kill."""
        left = self._leftovers()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _LEFTOVER_PATIENCE_S
        while (left := [process for process in left if process.is_running()]) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                await asyncio.to_thread(process.wait, _LEFTOVER_PATIENCE_S)
        self._children_path.unlink(missing_ok=True)

    def _leftovers(self) -> list[psutil.Process]:
        """Return the remembered children that still run. A pid that now belongs to another process is not one."""
        try:
            born: dict[str, float] = json.loads(self._children_path.read_text("utf-8"))
        except (OSError, ValueError):
            return []
        found = []
        for pid, at in born.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(pid))
                if abs(process.create_time() - at) < _BIRTH_TOLERANCE_S:
                    found.append(process)
        return found
