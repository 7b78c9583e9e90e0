"""One child process: started in a session of its own, logged to a file, stopped by its own pid, never left behind.

On Linux the kernel signals a child when the supervisor dies, even by kill -9, so that no orphan keeps a port.
"""

import asyncio
import ctypes
import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from observability.logs import SECRET_NAME

_PR_SET_PDEATHSIG: Final = 1
_ASK_INTERVAL_S: Final = 0.03
_ANSWER_TIMEOUT_S: Final = 2
_PASSWORD: Final = re.compile(r"://[^\s:/@]+:[^\s/@]+@")
_NO_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Children are on loopback: a proxy of the environment has no say."""


@dataclass(frozen=True)
class ChildSpec:
    """How a child is run.

    Parameters
    ----------
    stop_signal
        Asks for a clean end; the child gets `stop_timeout_s` seconds for it before SIGKILL.
    orphan_signal
        What the kernel sends it when the supervisor dies; `None`: the stop signal.
    user
        System user to run as; `None` for our own.
    is_ours
        Whether it is a program of ours, which is told our secrets by its environment; others are not.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 5.0
    orphan_signal: signal.Signals | None = None
    user: str | None = None
    is_ours: bool = True


class Process(Protocol):
    """What a child is made of; asyncio's own processes are of this kind."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; `None` while it runs."""

    async def wait(self) -> int:
        """Wait until it has ended."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal. Raises `ProcessLookupError` when it has just ended."""


class Child:
    """A running child."""

    def __init__(self, spec: ChildSpec, process: Process) -> None:
        self.spec = spec
        self._process = process

    @classmethod
    async def start(cls, spec: ChildSpec, *, stdin: int | socket.socket = asyncio.subprocess.DEVNULL) -> "Child":
        """Start it. Its output is appended to the log file."""
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        with spec.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=stdin if isinstance(stdin, int) else stdin.fileno(),
                stdout=log,
                stderr=log,
                env={**(os.environ if spec.is_ours else without_secrets(os.environ)), **spec.env},
                start_new_session=True,
                preexec_fn=die_with_parent(spec.orphan_signal or spec.stop_signal, os.getpid()),
                cwd="/" if spec.user else None,
                user=spec.user,
                umask=0o077,
            )
        return cls(spec, process)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or `None` while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it has ended."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill it if it does not in time."""
        if self._process.returncode is not None:
            return
        self._signal(self.spec.stop_signal)
        try:
            await asyncio.wait_for(self._process.wait(), self.spec.stop_timeout_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            self._process.send_signal(number)
        except ProcessLookupError:
            return


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for somebody else's program: without secrets, by their names, and addresses with one."""
    return {
        name: value for name, value in environ.items() if not SECRET_NAME.search(name) and not _PASSWORD.search(value)
    }


def die_with_parent(number: signal.Signals, parent: int) -> Callable[[], None]:
    """Return what a new child calls so that the kernel sends it this signal when its parent ends; Linux only."""
    libc = ctypes.CDLL(None, use_errno=True)

    def arrange() -> None:
        if not sys.platform.startswith("linux"):
            return
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def python_module(name: str) -> list[str]:
    """Return how a Python module is run as a program."""
    # -P: the folder that `volex up` is called in must not shadow our modules.
    return [sys.executable, "-P", "-m", name]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on, as the system gives it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(question: Callable[[], Awaitable[bool]], *, child: Child, timeout_s: float) -> None:
    """Ask until the answer is yes.

    Raises
    ------
    RuntimeError
        When the child ends before, or the time runs out; the message names the log file.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await question():
        if child.returncode is not None:
            raise RuntimeError(f"{child.spec.name} ended with code {child.returncode}; see {child.spec.log_path}")
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"{child.spec.name} is not ready after {timeout_s:g} s; see {child.spec.log_path}")
        await asyncio.sleep(_ASK_INTERVAL_S)


async def answers(url: str) -> str | None:
    """Return what an HTTP address answers with status 200; `None` for anything else."""
    try:
        return await asyncio.to_thread(_get, url)
    except OSError:
        return None


def _get(url: str) -> str:
    with _NO_PROXY.open(url, timeout=_ANSWER_TIMEOUT_S) as response:
        text: str = response.read().decode()
        return text
