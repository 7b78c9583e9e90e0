"""The demo's screen: a live table on a terminal, plain lines anywhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass
class Row:
    """One order on the screen."""

    title: str
    expected: str
    order: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def status(self) -> str:
        """The order's exact state, or a dash before it has one."""
        return str(self.order.get("lifecycle", "-"))

    @property
    def progress(self) -> str:
        """Filled of amount, and the average price."""
        if not self.order:
            return "-"
        average = self.order.get("average")
        at = f" at {average}" if average is not None else ""
        return f"{self.order['filled']} of {self.order['amount']}{at}"


class Screen:
    """Shows rows as they change."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8, transient=False)
        self._rows: list[Row] = []
        self._said: dict[str, tuple[str, str, str]] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def add(self, row: Row) -> Row:
        """Put a row on the screen."""
        self._rows.append(row)
        self.changed(row)
        return row

    def changed(self, row: Row) -> None:
        """Show what a row says now."""
        if self._console.is_terminal:
            self._live.update(self._table())
            return
        saying = (row.status, row.progress, row.note)
        if self._said.get(row.title) != saying and (row.order or row.note):
            self._said[row.title] = saying
            self.say(f"  {row.title:<28} {row.status:<17} {row.progress:<32} {row.note}".rstrip())

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title="Orders, as their workflows carry them", title_justify="left", expand=False)
        for heading in ("order", "status", "filled", "last word"):
            table.add_column(heading, no_wrap=heading != "last word")
        for row in self._rows:
            color = {"FILLED": "green", "CANCELED": "yellow", "DENIED": "red", "IN_DOUBT": "magenta"}.get(
                row.status, ""
            )
            table.add_row(row.title, f"[{color}]{row.status}[/]" if color else row.status, row.progress, row.note)
        return table
