"""Starts our Python programs by fork from a process that has imported everything: ready in a tenth of the time.

Whatever goes wrong with that process, the programs still start: by themselves, as any child does.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from embedded.child import Child, ChildSpec, python_module
from observability.logs import get_logger

_FORK_TIMEOUT_S: Final = 30.0
"""The first fork waits for the imports; a slow machine takes 10 s for them."""
_FORK_TRIES: Final = 2
_END_TIMEOUT_S: Final = 5.0
_ASK_INTERVAL_S: Final = 0.005
log = get_logger("volex.stack")


class _NotForked(RuntimeError):
    """The nursery did not fork: it refused, does not answer, or has ended."""


class ForkedProcess:
    """A process that is the nursery's child, seen from here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; `None` while it runs."""
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        """Wait until it has ended."""
        return await asyncio.shield(self._code)

    def send_signal(self, number: int) -> None:
        """Send it a signal. Raises `ProcessLookupError` when it has just ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def has_ended(self, code: int) -> None:
        """Take note of its end."""
        if not self._code.done():
            self._code.set_result(code)


class _NurseryLife:
    """One nursery process, from its start to its end, and what it forked."""

    def __init__(self, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.child = child
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[ForkedProcess]] = {}
        self._forked: dict[int, ForkedProcess] = {}
        self._listener = asyncio.create_task(self._listen(), name="listen to the nursery")

    @classmethod
    async def begin(cls, spec: ChildSpec) -> "_NurseryLife":
        """Start the process; its imports go on while we return."""
        ours, theirs = socket.socketpair()
        try:
            child = await Child.start(spec, stdin=theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(child, *await asyncio.open_connection(sock=ours))

    @property
    def is_over(self) -> bool:
        """Whether it can fork no more."""
        return self._listener.done()

    async def fork(self, spec: ChildSpec) -> ForkedProcess:
        """Fork a program. Raises `_NotForked`."""
        number = next(self._numbers)
        _python, _p, _m, module, *arguments = spec.argv
        request = {
            "id": number,
            "module": module,
            "arguments": arguments,
            "env": {**os.environ, **spec.env},
            "log": str(spec.log_path),
            "orphan_signal": int(spec.orphan_signal or spec.stop_signal),
        }
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(request).encode() + b"\n")
        if self.is_over:
            raise _NotForked("the nursery has ended")
        try:
            return await asyncio.wait_for(answer, _FORK_TIMEOUT_S)
        except TimeoutError:
            raise _NotForked(f"the nursery does not answer within {_FORK_TIMEOUT_S:g} s") from None

    async def end(self) -> None:
        """End the process, and with it what it still has."""
        self._writer.close()
        await self.child.stop()
        await self._listener

    async def _listen(self) -> None:
        """Take its words until it ends; then everything that it forked has ended too."""
        with contextlib.suppress(OSError):
            while line := await self._reader.readline():
                self._heard(json.loads(line))
        self._writer.close()
        code = await self.child.wait()
        for process in list(self._forked.values()):
            await _until_gone(process.pid)
            process.has_ended(-signal.SIGKILL)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_NotForked(f"the nursery ended with code {code}"))

    def _heard(self, told: Mapping[str, int | str]) -> None:
        if "ended" in told:
            self._forked.pop(int(told["ended"])).has_ended(int(told["code"]))
            return
        answer = self._asked.pop(int(told["id"]))
        if "refused" in told:
            if not answer.done():
                answer.set_exception(_NotForked(str(told["refused"])))
            return
        process = self._forked[int(told["pid"])] = ForkedProcess(int(told["pid"]))
        if answer.done():
            # Nobody waits for it any more, so nobody would ever stop it.
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        else:
            answer.set_result(process)


class Nursery:
    """Keeps a nursery process and starts programs with it.

    Parameters
    ----------
    environment
        Added to ours for the imports; libraries read certificates and the like at once.
    changed
        Called when a process has been started.
    """

    def __init__(self, *, environment: Mapping[str, str], log_path: Path, changed: Callable[[], None]) -> None:
        self._spec = ChildSpec(
            name="nursery",
            argv=python_module("embedded.nursery_process"),
            log_path=log_path,
            env=environment,
            stop_timeout_s=2,
            orphan_signal=signal.SIGKILL,
        )
        self._changed = changed
        self._life: _NurseryLife | None = None
        self._is_useless = not sys.platform.startswith("linux")
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id; `None` when none runs."""
        return self._life.child.pid if self._life is not None and self._life.child.returncode is None else None

    async def start(self) -> None:
        """Start the process if none runs. Its imports go on by themselves. Never raises for what it does."""
        async with self._turn:
            if self._life is not None and self._life.is_over:
                # Killed, it is started anew. What ends by itself would do so again.
                code = self._life.child.returncode
                self._is_useless = code is not None and code >= 0
                log.warning("nursery ended", exit_code=code, see=str(self._spec.log_path))
                self._life = None
            if self._life is not None or self._is_useless:
                return
            try:
                self._life = await _NurseryLife.begin(self._spec)
            except OSError as error:
                log.warning("nursery did not start", problem=str(error))
                return
        self._changed()

    async def start_child(self, spec: ChildSpec) -> Child:
        """Start a program of ours: by fork, or where that cannot be, by itself. Raises `OSError` as `Child.start`."""
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_FORK_TRIES):
            await self.start()
            if self._life is None:
                break
            life = self._life
            try:
                return Child(spec, await life.fork(spec))
            except _NotForked as error:
                log.warning("part was not forked", part=spec.name, problem=str(error))
            if not life.is_over:
                break
        return await Child.start(spec)

    async def stop(self) -> None:
        """End the process."""
        if self._life is not None:
            await self._life.end()
            self._life = None


async def _until_gone(pid: int) -> None:
    """Wait until a process has ended: it lets go of its ports a moment after the nursery that it dies with."""
    deadline = asyncio.get_running_loop().time() + _END_TIMEOUT_S
    while _runs(pid) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_ASK_INTERVAL_S)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
