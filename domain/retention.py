"""How long series of samples are kept. Facts of orders, fills, cases and decisions are kept for ever."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from domain.order import Frozen

Days = Annotated[int, Field(ge=1, le=36_500)]


class SeriesTerms(Frozen):
    """What the settings say of the series; `None` keeps them for ever."""

    chunk_days: Days = 7
    marks_days: Days | None = 90
    equity_days: Days | None = None
    performance_days: Days | None = None
    compress_after_days: Days | None = None

    def kept(self) -> Mapping[str, timedelta]:
        """Return for each table that is thinned how long its rows are kept."""
        days = {
            "marks": self.marks_days,
            "equity_snapshots": self.equity_days,
            "performance": self.performance_days,
        }
        return {table: timedelta(days=kept) for table, kept in days.items() if kept is not None}
