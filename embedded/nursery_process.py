"""The nursery's own process: it has imported what worker and REST interface need, and forks them on request.

A fork costs milliseconds where the imports cost two seconds of CPU. It has no thread and no client of anything, so
that nothing is shared with its children but memory; it refuses to fork otherwise. Standard input is a socket to the
supervisor, one JSON object a line: `{"id", "module", "arguments", "env", "log", "orphan_signal"}` is answered by
`{"id", "pid"}` or `{"id", "refused"}`, and `{"ended", "code"}` follows when the child has ended.
"""

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from temporalio.worker._worker import load_default_build_id

from embedded.child import die_with_parent

_PREPARED: Final = (
    *("worker", "cli.main", "api.app"),
    # What these import only when they run.
    *("asyncpg", "sqlalchemy.dialects.postgresql.asyncpg", "temporalio.contrib.pydantic"),
    *("uvicorn", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"),
    *("uvicorn.lifespan.on",),
)
_PR_SET_NAME: Final = 15
_ARG_START, _ARG_END = 47, 48
"""Positions in /proc/self/stat, counted from 0: where the command line that `ps` shows lies in memory."""


class _Nursery:
    def __init__(self) -> None:
        self._supervisor = socket.socket(fileno=os.dup(0))
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._unread = b""

    def serve(self) -> None:
        """Fork and reap until the supervisor is gone. What was forked dies with us."""
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        # Something must handle the signal, or nothing is written to the waker.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(self._supervisor, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                elif not self._take_requests():
                    return

    def _take_requests(self) -> bool:
        received = self._supervisor.recv(65536)
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            self._fork(json.loads(line))
        return received != b""

    def _fork(self, request: Mapping[str, Any]) -> None:
        threads = max(threading.active_count(), len(os.listdir("/proc/self/task")))
        if threads != 1:
            self._tell(id=request["id"], refused=f"the nursery has {threads} threads")
            return
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(id=request["id"], refused=str(error))
            return
        if pid == 0:
            self._grow_up(request, parent)
        self._tell(id=request["id"], pid=pid)

    def _grow_up(self, request: Mapping[str, Any], parent: int) -> NoReturn:
        """Be the program from here on, as if it had been started by itself. Never returns."""
        code = 1
        try:
            arrange = die_with_parent(signal.Signals(request["orphan_signal"]), parent)
            arrange()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self._selector.close()
            for end in (self._supervisor, self._woken, self._waker):
                end.close()
            _settle(request)
            code = _run(request["module"], request["arguments"])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._tell(ended=pid, code=os.waitstatus_to_exitcode(status))

    def _tell(self, **facts: Any) -> None:
        self._supervisor.sendall(json.dumps(facts).encode() + b"\n")


def _settle(request: Mapping[str, Any]) -> None:
    """Take a session, an output and an environment of one's own."""
    os.setsid()
    os.umask(0o077)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    # Changed, not replaced: modules hold on to the object.
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    _show_as(request["module"], request["arguments"])


def _show_as(module: str, arguments: list[str]) -> None:
    """Let `ps` and `top` show the program instead of the nursery, as far as the nursery's command line has room."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, module.encode())
    shown = b"\0".join(os.fsencode(word) for word in (sys.executable, "-P", "-m", module, *arguments))
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/self/mem", "r+b", buffering=0) as memory:
            # Counted from behind the name, which may hold spaces.
            fields = stat.read().rpartition(b")")[2].split()
            start, end = int(fields[_ARG_START - 2]), int(fields[_ARG_END - 2])
            room = end - start
            memory.seek(start)
            memory.write(shown[: room - 1].ljust(room, b"\0"))
    except (OSError, ValueError, IndexError):
        return  # it runs as well under another name


def _run(module: str, arguments: list[str]) -> int:
    """Run a module's `main()` as `python -m` would; return its exit code."""
    program = importlib.import_module(module)
    sys.argv[:] = [str(program.__file__), *arguments]
    try:
        program.main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    return 0


def main() -> None:
    """Import, then serve."""
    # A leftover is ended with SIGINT: we have nothing to say about it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    nursery = _Nursery()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for name in _PREPARED:
        importlib.import_module(name)
    # Temporal reads all modules' code to name the build, a third of a second for each worker; children inherit it.
    load_default_build_id()
    # What is there now stays: children need not look through it again, and go on sharing its memory.
    gc.collect()
    gc.freeze()
    nursery.serve()


if __name__ == "__main__":
    main()
