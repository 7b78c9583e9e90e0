"""`volex report`: what it writes from the rows it gets, and that a half answer is never a record."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import report
from cli.account import Rest, RestRefused, RestUnavailable
from cli.report import Kind, Method, Mode, cell
from domain import lots, order, records
from domain.records import COLUMNS, RecordKind

ROW = dict.fromkeys(COLUMNS[RecordKind.FILLS]) | {
    "at": "2026-11-24T12:00:00.000000Z",
    "quantity": "0.1",
    "fee": "-0.0001",
    "fee_asset": "BNB",
    "strategy": '=HYPERLINK("http://x")',
    "requested_by": "@ann",
    "client_reference": "a,b",
}


class Answers(Rest):
    """The REST interface, as far as a report sees it."""

    def __init__(self, answers: Mapping[str, list[str]], *, breaks: bool = False) -> None:
        self.account = "one"
        self._answers = answers
        self._breaks = breaks
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def get(self, path: str, **parameters: str) -> str:
        """Tell the accounts."""
        assert path == "/exchanges"
        return json.dumps({"available_exchanges": list(self._answers)})

    def lines(self, path: str, **parameters: str) -> Iterator[str]:
        """Give out the lines of an account's record."""
        self.asked.append((path, parameters))
        yield from self._answers[path.rsplit("/", 1)[1]]
        if self._breaks:
            raise RestUnavailable("no answer")


def lines_of(*rows: Mapping[str, Any]) -> list[str]:
    """Lines as the REST interface writes them."""
    texts = [json.dumps(row) for row in rows]
    return ["[", *(f"{text}," for text in texts[:-1]), texts[-1], "]"] if rows else ["[]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command against given answers; returns its result and what was asked for."""

    def started(rest: Answers, *arguments: str) -> Any:
        monkeypatch.setattr("cli.account.Rest", lambda data_dir: rest)
        app = typer.Typer()
        report.register(app)
        return CliRunner().invoke(app, [*arguments])

    return started


def test_the_words_of_the_command_are_those_of_the_records() -> None:
    assert [kind.value for kind in Kind] == [kind.value for kind in records.RecordKind]
    assert [method.value for method in Method] == [method.value for method in lots.Method]
    assert [mode.value for mode in Mode] == [mode.value for mode in order.TradingMode]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        ("-0.5", "-0.5"),
        ("12", "12"),
        ("-1+2", "'-1+2"),
        ("-", "'-"),
        ("=1", "'=1"),
        ("+1", "'+1"),
        ("@a", "'@a"),
        ("\t=1", "'\t=1"),
        ("a=1", "a=1"),
        ([{"a": "="}], '[{"a":"="}]'),
        ([], "[]"),
    ],
)
def test_no_cell_can_be_taken_for_a_formula_and_numbers_stay_numbers(value: object, text: str) -> None:
    assert cell(value) == text


def test_csv_of_every_account_has_one_header_and_empty_cells_for_what_is_not_known(run: Any) -> None:
    rest = Answers({"one": lines_of(ROW, ROW), "two": lines_of(), "three": lines_of(ROW)})
    result = run(rest, "fills", "--year", "2026")
    assert result.exit_code == 0, result.output
    found = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(found) == 3
    assert tuple(found[0]) == COLUMNS[RecordKind.FILLS]
    told = {name: found[0][name] for name in ("fee", "fee_value", "strategy", "requested_by", "client_reference")}
    assert told == {
        "fee": "-0.0001",
        "fee_value": "",
        "strategy": '\'=HYPERLINK("http://x")',
        "requested_by": "'@ann",
        "client_reference": "a,b",
    }
    assert rest.asked[0] == ("/reports/fills/one", {"year": "2026", "method": "fifo"})
    assert "3 rows" in result.stderr


def test_json_is_the_rows_as_they_came_and_a_file_holds_all_of_them(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "fills.json"
    rest = Answers({"one": lines_of(ROW, ROW)})
    arguments = ("--mode", "live", "--method", "average", "--format", "json", "--output", str(target))
    result = run(rest, "fills", "--year", "2026", "--account", "one", *arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(target.read_text("utf-8")) == [ROW, ROW]
    assert rest.asked == [("/reports/fills/one", {"year": "2026", "method": "average", "mode": "live"})]
    empty = run(Answers({"one": lines_of()}), "gains", "--year", "2026", "--format", "json")
    assert json.loads(empty.stdout) == []


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("broken", ["no closing bracket", "connection lost"])
def test_an_answer_that_breaks_off_leaves_no_file(run: Any, tmp_path: Path, form: str, broken: str) -> None:
    target = tmp_path / "fills"
    target.write_text("the year before", "utf-8")
    rest = Answers({"one": lines_of(ROW, ROW)[:-1]}, breaks=broken == "connection lost")
    result = run(rest, "fills", "--year", "2026", "--format", form, "--output", str(target))
    assert result.exit_code == 5, result.output
    assert target.read_text("utf-8") == "the year before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_refusal_is_shown_and_leaves_no_file(run: Any, tmp_path: Path) -> None:
    class Refusing(Answers):
        def lines(self, path: str, **parameters: str) -> Iterator[str]:
            raise RestRefused(404, '{"code": "UNKNOWN_ACCOUNT", "detail": "none", "what_to_do": "Use another."}')

    result = run(Refusing({"one": []}), "fills", "--year", "2026", "--output", str(tmp_path / "x.csv"))
    assert result.exit_code == 2
    assert "UNKNOWN_ACCOUNT" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said_in_a_line(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "x.csv"
    result = run(Answers({"one": lines_of(ROW)}), "fills", "--year", "2026", "--output", str(target))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_parquet_needs_a_file_and_its_package_and_says_how_to_get_it(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Answers({"one": lines_of(ROW)})
    on_screen = run(asked, "fills", "--year", "2026", "--format", "parquet")
    assert (on_screen.exit_code, "--output" in on_screen.stderr) == (2, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    missing = run(asked, "fills", "--year", "2026", "--format", "parquet", "--output", str(tmp_path / "x.parquet"))
    assert (missing.exit_code, "pip install 'volex[parquet]'" in missing.stderr) == (2, True)
    assert asked.asked == [], "nothing is asked for that cannot be written"


def test_parquet_holds_text_flags_and_what_is_not_known(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(report, "ROWS_A_BATCH", 2)
    gain = dict.fromkeys(COLUMNS[RecordKind.GAINS]) | {"gain": "-1.5", "by_fee": True}
    target = tmp_path / "gains.parquet"
    rest = Answers({"one": lines_of(*[gain] * 5)})
    result = run(rest, "gains", "--year", "2026", "--format", "parquet", "--output", str(target))
    assert result.exit_code == 0, result.output
    assert parquet.read_table(target).to_pylist() == [gain] * 5
