"""`volex report fills|gains|fees|orders`: records for tax and compliance as CSV, JSON or Parquet, streamed."""

import contextlib
import csv
import json as json_text
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from cli import render
from cli.account import Rest, RestUnavailable, in_path, reaching
from cli.exit_codes import EPILOG
from cli.stack import DataDir
from domain.errors import ConfigurationError

ROWS_A_BATCH: Final = 5_000
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins with one of these is run as a formula by spreadsheets."""
Rows = Iterable[Mapping[str, Any]]


class Kind(StrEnum):
    """As in `domain.records`, which is too heavy to import for a help page."""

    FILLS = "fills"
    GAINS = "gains"
    FEES = "fees"
    ORDERS = "orders"


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class Method(StrEnum):
    """As in `domain.lots`."""

    FIFO = "fifo"
    AVERAGE = "average"


class Mode(StrEnum):
    """As in `domain.order`."""

    PAPER = "paper"
    SANDBOX = "sandbox"
    LIVE = "live"


def report(
    kind: Annotated[Kind, typer.Argument(help="orders is the compliance record.")],
    year: Annotated[int, typer.Option(min=2000, max=2100, help="Calendar year, UTC.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="How rows are written.")] = Format.CSV,
    method: Annotated[Method, typer.Option(help="Cost of what is disposed of, for gains.")] = Method.FIFO,
    mode: Annotated[Mode | None, typer.Option(help="Each account's own mode if left out; never mixed.")] = None,
    account: Annotated[str | None, typer.Option("--account", "-a", help="Every account if left out.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The screen if left out.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write a year's trades, gains, fees or orders, each row with the trade ids and orders that it comes from.

    Numbers are text, times ISO 8601 in UTC; what is not known is empty. A file appears only when it is complete.

    Example: volex report gains --year 2026 --method fifo --output gains-2026.csv
    """
    with reaching(data_dir, json=False) as rest:
        write = _writer(form, output)
        names = [account] if account is not None else rest.accounts()
        parameters = {"year": str(year), "method": method.value} | ({"mode": mode.value} if mode is not None else {})
        counted = Counted(row for name in names for row in rows(rest, kind, name, parameters))
        with target(output, binary=form is Format.PARQUET) as file:
            write(counted, columns_of(kind), file)
    typer.echo(f"{counted.rows} rows{f' in {render.printable(str(output))}' if output is not None else ''}", err=True)


class Counted:
    """Rows as they pass, counted."""

    def __init__(self, source: Rows) -> None:
        self._source = source
        self.rows = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows."""
        for row in self._source:
            self.rows += 1
            yield row


def columns_of(kind: Kind) -> Sequence[str]:
    """Return the names of a record's columns."""
    from domain.records import COLUMNS, RecordKind

    return COLUMNS[RecordKind(kind.value)]


def rows(rest: Rest, kind: Kind, account: str, parameters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of one account as they come. Raises `RestUnavailable` when the answer breaks off."""
    closed = False
    for line in rest.lines(f"/reports/{kind.value}/{in_path(account)}", **parameters):
        if line.startswith("{"):
            yield json_text.loads(line.removesuffix(","))
        closed = line.endswith("]") and not line.startswith("{")
    if not closed:
        raise RestUnavailable("the answer broke off; nothing of it is a record")


def write_csv(found: Rows, columns: Sequence[str], file: IO[Any]) -> None:
    """Write rows with a header. No cell can be taken for a formula."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in found)


def cell(value: object) -> str:
    """Return a value as a CSV cell: empty when not known, a list as JSON, and text that is no formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else json_text.dumps(value, separators=(",", ":"))
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def write_json(found: Rows, columns: Sequence[str], file: IO[Any]) -> None:
    """Write an array, one row a line, with the columns in their order."""
    before = "[\n"
    for row in found:
        file.write(before + json_text.dumps({name: row[name] for name in columns}, separators=(",", ":")))
        before = ",\n"
    file.write("[]\n" if before == "[\n" else "\n]\n")


def write_parquet(found: Rows, columns: Sequence[str], file: IO[Any]) -> None:
    """Write columns of text, true and false as such; lists are JSON."""
    import pyarrow
    from pyarrow import parquet

    flags = ("by_fee", "post_only")
    fields = [(name, pyarrow.bool_() if name in flags else pyarrow.string()) for name in columns]
    schema = pyarrow.schema(fields)
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in _batches(found):
            told = {name: [_parquet_value(row[name]) for row in batch] for name in columns}
            writer.write_table(pyarrow.table(told, schema=schema))


def _parquet_value(value: object) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    return json_text.dumps(value, separators=(",", ":"))


def _batches(found: Rows) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for row in found:
        batch.append(row)
        if len(batch) == ROWS_A_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _writer(form: Format, output: Path | None) -> Callable[[Rows, Sequence[str], IO[Any]], None]:
    """Return what writes the format; says what is missing before anything is asked for."""
    if form is not Format.PARQUET:
        return write_csv if form is Format.CSV else write_json
    if output is None:
        raise ConfigurationError("Parquet is no text for a screen", advice="Name a file with --output.")
    try:
        import pyarrow  # noqa: F401  # asked for here, used where it writes
    except ImportError:
        advice = "Install it with `pip install 'volex[parquet]'`, or use --format csv."
        raise ConfigurationError("Parquet is written by the package pyarrow, which is missing", advice=advice) from None
    return write_parquet


@contextlib.contextmanager
def target(output: Path | None, *, binary: bool) -> Iterator[IO[Any]]:
    """Open what is written to. A file takes its place only when all of it is there."""
    if output is None:
        yield sys.stdout
        return
    try:
        number, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        advice = "Name a file in a folder that you may write to."
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}", advice=advice) from None
    try:
        with open(number, "wb") if binary else open(number, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(name, output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(epilog=EPILOG)(report)
