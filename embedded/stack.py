"""The whole stack as one object: `async with EmbeddedStack(options) as stack`, ready inside, stopped after.

Postgres, Temporal and the simulator start at once; then the database is migrated, then workers and REST interface.
They stop the other way round. Every child that dies in between is started again. Workers and REST interface are forked
from the nursery, whose imports go on while the servers start.
"""

import asyncio
import contextlib
import importlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from embedded.child import Child, ChildSpec
from embedded.configuration import Ports, StackConfiguration, choose_ports
from embedded.data_directory import DataDirectory, write_atomically
from embedded.nursery import Nursery
from embedded.postgres_server import PostgresServer
from embedded.python_parts import ApiProcess, Simulator, WorkerProcess
from embedded.supervised import Part, Supervised
from embedded.temporal_server import TemporalServer

ALL_PARTS: Final = frozenset({"postgres", "temporal", "simulator", "worker", "api"})
"""What runs unless it is left out. `simulator-kraken`, a second local venue, runs only when it is asked for."""
FORKED_PARTS: Final = frozenset({"worker", "api"})


@dataclass(frozen=True)
class StackOptions:
    """What to start, and where.

    Parameters
    ----------
    data_dir
        Keeps everything that survives a restart.
    ready_file
        Gets the addresses and process ids once everything answers, and again after every restart of a child.
    config
        The caller's `volex.toml`; `None`: as `VOLEX_CONFIG` says, or the one in the current folder.
    workers
        Number of worker processes, 1 or more.
    parts
        Which to start: of `ALL_PARTS`, and `simulator-kraken`.
    ports
        Ports by the names of `Ports`; free ones for those left out.
    simulator_arguments
        Further arguments of the simulators, of both if there are two.
    environ
        Environment that the settings are read from.
    """

    data_dir: Path
    ready_file: Path | None = None
    config: Path | None = None
    workers: int = 1
    parts: frozenset[str] = ALL_PARTS
    ports: Mapping[str, int | None] = field(default_factory=dict)
    simulator_arguments: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


class EmbeddedStack:
    """The stack. Must be entered in the main thread: Linux ends the children when the thread that made them ends.

    Raises
    ------
    ConfigurationError
        On construction or entry, before anything has started: settings do not fit, or the data directory is in use.
    RuntimeError
        On entry, when a part does not start; all others have been stopped again.
    """

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self.configuration = StackConfiguration(options.config, options.environ)
        self.ports: Ports = choose_ports(self.configuration.settings, options.ports)
        self.data = DataDirectory(options.data_dir)
        self._supervised: dict[str, Supervised] = {}
        self._stages: list[list[Supervised]] = []
        self._is_up = False
        path = self.data
        self._ready_files = [path.ready_path, *([options.ready_file] if options.ready_file else [])]
        self.postgres = PostgresServer(
            path.path / "postgres", port=self.ports.postgres, log_path=path.log_path("postgres")
        )
        self.temporal = TemporalServer(
            path.path / "temporal.db",
            port=self.ports.temporal,
            ui_port=self.ports.ui,
            log_path=path.log_path("temporal"),
            namespace=self.configuration.settings.temporal_namespace,
        )
        self.simulator = Simulator(
            path,
            port=self.ports.simulator,
            control_port=self.ports.simulator_control,
            arguments=options.simulator_arguments,
        )
        self.simulator_kraken = Simulator(
            path,
            port=self.ports.simulator_kraken,
            control_port=self.ports.simulator_kraken_control,
            arguments=options.simulator_arguments,
            protocol="kraken",
        )
        self.nursery = Nursery(
            environment=self.configuration.environ, log_path=path.log_path("nursery"), changed=self._changed
        )
        self.environment: dict[str, str] = {}
        """What a client process needs in its environment to find this stack; filled once it is up."""

    async def __aenter__(self) -> Self:
        self.data.__enter__()
        try:
            self._forget_ready()
            await self.data.clear_leftovers()
            if self._options.parts & FORKED_PARTS:
                await self.nursery.start()
            await self._start_servers()
            await self._start_programs()
        except BaseException:
            await self._shut_down()
            raise
        self._is_up = True
        self._changed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shut_down()

    @property
    def ready(self) -> dict[str, Any]:
        """What the ready file holds: the addresses of the parts that run, and all process ids."""
        addresses = {
            "api": ("api", self.configuration.api_url(self.ports.api)),
            "ui": ("temporal", self.temporal.ui_url),
            "temporal": ("temporal", self.temporal.address),
            "database": ("postgres", self.environment.get("DATABASE_URL")),
            "simulator": ("simulator", self.simulator.venue_url),
            "simulator_control": ("simulator", self.simulator.control_url),
            "simulator_kraken": ("simulator-kraken", self.simulator_kraken.venue_url),
            "simulator_kraken_control": ("simulator-kraken", self.simulator_kraken.control_url),
        }
        pids: dict[str, Any] = {"supervisor": os.getpid()}
        if "worker" in self._options.parts:
            pids["worker"] = [part.pid for name, part in self._supervised.items() if name.startswith("worker")]
        pids |= {name: part.pid for name, part in self._supervised.items() if not name.startswith("worker")}
        if self.nursery.pid is not None:
            pids["nursery"] = self.nursery.pid
        told = {key: address if part in self._options.parts else None for key, (part, address) in addresses.items()}
        config = self.environment.get("VOLEX_CONFIG") or None
        return {**told, "data_dir": str(self.data.path), "config": config, "pids": pids}

    def part(self, name: str) -> Supervised:
        """Return a running part by name: postgres, temporal, simulator, api, worker, worker-2, …"""
        return self._supervised[name]

    async def _start_servers(self) -> None:
        parts: list[Part] = []
        if "postgres" in self._options.parts:
            parts.append(self.postgres)
        if "temporal" in self._options.parts:
            parts.append(self.temporal)
        simulators = [one for one in (self.simulator, self.simulator_kraken) if one.name in self._options.parts]
        parts += simulators

        async def prepared(part: Part) -> None:
            if part is self.postgres:
                await asyncio.to_thread(self.postgres.prepare)
            await self._supervised[part.name].start()

        self._stages.append(self._add(parts))
        # Importing SQLAlchemy and alembic takes as long as the servers need to start.
        imports = asyncio.to_thread(importlib.import_module, "storage.migrate")
        await _all_or_first_error([*(prepared(part) for part in parts), imports])
        file = self.configuration.effective_file(
            self.data.run,
            venue_url=self.simulator.venue_url if self.simulator in simulators else None,
            kraken_url=self.simulator_kraken.venue_url if self.simulator_kraken in simulators else None,
        )
        self.environment = self.configuration.environment(
            self.ports,
            database_url=self.postgres.url() if "postgres" in self._options.parts else "",
            temporal_address=self.temporal.address,
            ui_url=self.temporal.ui_url,
            file=file,
        )
        if "postgres" in self._options.parts:
            await importlib.import_module("storage.migrate").upgrade(
                self.postgres.url(), self.configuration.settings.storage.terms()
            )
            await importlib.import_module("storage.continuity").start_anew(self.postgres.url())

    async def _start_programs(self) -> None:
        workers: list[Part] = []
        if "worker" in self._options.parts:
            workers = [self._worker(number) for number in range(1, self._options.workers + 1)]
        self._stages.append(self._add(workers, start_child=self.nursery.start_child))
        interface: list[Part] = []
        if "api" in self._options.parts:
            url = self.configuration.api_url(self.ports.api)
            interface = [ApiProcess(url, environment=self.environment, log_path=self.data.log_path("api"))]
        self._stages.append(self._add(interface, start_child=self.nursery.start_child))
        await _all_or_first_error([part.start() for stage in self._stages[1:] for part in stage])

    def _worker(self, number: int) -> WorkerProcess:
        return WorkerProcess(
            number,
            environment=self.environment,
            log_path=self.data.log_path("worker" if number == 1 else f"worker-{number}"),
            run_dir=self.data.run,
            graceful_s=self.configuration.graceful_shutdown_s,
        )

    def _add(
        self, parts: Iterable[Part], *, start_child: Callable[[ChildSpec], Awaitable[Child]] = Child.start
    ) -> list[Supervised]:
        added = [Supervised(part, changed=self._changed, start_child=start_child) for part in parts]
        self._supervised |= {supervised.name: supervised for supervised in added}
        return added

    def _changed(self) -> None:
        """Write down the children of now, and tell the world once all of them serve."""
        parts = self._supervised.values()
        pids = [self.nursery.pid, *(part.pid for part in parts)]
        self.data.remember(pid for pid in pids if pid is not None)
        if self._is_up and all(part.is_ready for part in parts):
            for path in self._ready_files:
                write_atomically(path, self.ready)

    def _forget_ready(self) -> None:
        for path in self._ready_files:
            path.unlink(missing_ok=True)

    async def _shut_down(self) -> None:
        """Stop what runs: REST interface, workers, simulator and Temporal, and Postgres last."""
        self._is_up = False
        self._forget_ready()
        for stage in reversed(self._stages):
            await asyncio.gather(*(part.stop() for part in stage if part.name != "postgres"))
        await self.nursery.stop()
        if "postgres" in self._supervised:
            await self._supervised["postgres"].stop()
        with contextlib.suppress(OSError):
            self.data.remember(())
        self.data.__exit__(None, None, None)


async def _all_or_first_error(starts: Iterable[Any]) -> None:
    """Await all at once; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
