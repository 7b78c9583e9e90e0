"""Cases without a stack: what the commands print, and what the REST interface refuses before it asks anybody."""

import json
from datetime import UTC, datetime

import httpx2
import pytest
from typer.testing import CliRunner

from api.app import create_app
from api.cases import case_json
from api.numbers import write_json
from cli import cases
from cli.exit_codes import ExitCode, code_of
from cli.main import app
from domain.comparison import Case, Reconciled
from domain.errors import CaseClosed, CaseNotFound
from domain.instrument import deny
from settings import Settings
from starter.failures import EngineUnavailable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_case(case_id: int = 7, **changes: object) -> Case:
    """Return an open case about a balance."""
    reason = deny("BALANCE_MISMATCH", "the venue's total is another", asset="USDT", difference="-100.50")
    return Case(case_id=case_id, account="grid", subject="asset USDT", code=reason.code, reason=reason, opened_at=NOW,
                **changes)  # fmt: skip


def wired(case: Case) -> dict[str, object]:
    """Return the case as the command reads it from the wire."""
    return dict(json.loads(write_json(case_json(case)), parse_float=str))


def found(**changes: object) -> Reconciled:
    """Return what a comparison found."""
    return Reconciled(account="grid", began_at=NOW, interval_s=60, **changes)


def test_case_on_the_wire_has_exact_numbers_and_text() -> None:
    told = json.loads(write_json(case_json(a_case())))
    assert set(told) == {
        "id", "exchange", "subject", "order_id", "code", "text", "numbers", "opened_at", "closed_at", "resolution",
    }  # fmt: skip
    assert (told["id"], told["exchange"], told["code"]) == (7, "grid", "BALANCE_MISMATCH")
    assert told["text"] == "the venue's total is another"
    assert (told["opened_at"], told["closed_at"]) == ("2026-11-24T12:00:00.000000Z", None)


def test_open_cases_are_shown_with_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    cases._show_cases([[wired(a_case())]], limit=100, every=False)
    shown = capsys.readouterr()
    assert "asset USDT" in shown.out and "asset=USDT" in shown.out and "difference=-100.5" in shown.out
    assert ("closed" in shown.out, shown.err) == (False, "")


def test_closed_case_is_shown_with_what_was_said_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    closed = a_case(closed_at=NOW, resolution="closed by ann: a deposit")
    cases._show_cases([[wired(closed)], []], limit=100, every=True)
    assert "closed by ann: a deposit" in capsys.readouterr().out


def test_full_page_names_the_command_for_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    cases._show_cases([[wired(a_case(9)), wired(a_case(8))]], limit=2, every=True)
    assert "volex cases --account grid --before 8 --all" in capsys.readouterr().err


def test_nothing_to_show_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    cases._show_cases([[]], limit=100, every=False)
    assert capsys.readouterr().out == "No open case.\n"


def test_every_case_that_was_opened_is_printed_with_the_way_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = found(
        unfinished=3, adopted=("aaaaaaaaaaaaaaaa",), adopted_in_all=2, cases=("ORPHAN_ORDER order A/B 1\x1b[2J",)
    )
    cases._show_compared([told], json=False)
    shown = capsys.readouterr().out
    assert next(line for line in shown.splitlines() if line.startswith("grid")).split() == [
        "grid",
        "3",
        "1",
        "2",
        "0",
        "1",
    ]
    assert "CASE OPENED  grid: ORPHAN_ORDER order A/B 1" in shown and "volex cases --account grid" in shown
    assert "\x1b[2J" not in shown


def test_comparison_for_programs_is_a_list_in_the_wires_words(capsys: pytest.CaptureFixture[str]) -> None:
    cases._show_compared([found(adopted=("aaaaaaaaaaaaaaaa",), adopted_in_all=1)], json=True)
    assert json.loads(capsys.readouterr().out) == [
        {
            "exchange": "grid", "began_at": "2026-11-24T12:00:00.000000Z", "unfinished": 0, "open_at_venue": 0,
            "adopted": ["aaaaaaaaaaaaaaaa"], "adopted_in_all": 1, "cases": [],
        }
    ]  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True])
def test_account_that_fails_hides_nothing_of_the_others_and_gives_the_exit_code(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Two:
        settings = Settings.model_construct(accounts={"grid": None, "away": None})

    async def connected(_: object) -> tuple[object, object]:
        return Two(), object()

    async def compare(_: object, name: str) -> Reconciled:
        if name == "away":
            raise EngineUnavailable("account away was not answered for")
        return found()

    monkeypatch.setattr(cases, "_connected", connected)
    command = cases.typer.Typer()
    command.command()(lambda: cases._compare(compare, None, json=as_json, data_dir=None))
    ended = CliRunner().invoke(command, [])
    assert ended.exit_code == ExitCode.UNREACHABLE
    assert "grid" in ended.stdout and "TEMPORAL_UNAVAILABLE: account away" in ended.stderr


def test_case_that_cannot_be_closed_ends_the_command_with_code_3() -> None:
    assert code_of(CaseNotFound("x")) == code_of(CaseClosed("x")) == ExitCode.REFUSED


@pytest.mark.parametrize("command", [("reconcile",), ("recover",), ("cases",), ("case", "close")])
def test_help_shows_an_example_the_json_option_and_the_exit_codes(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert f"volex {' '.join(command)}" in shown.partition("Example")[2]
    assert "--json" in shown and "Exit codes: 0 done" in shown


@pytest.mark.parametrize(
    "arguments", [("case", "close", "0", "--because", "x"), ("case", "close", "7"), ("cases", "--limit", "501")]
)
def test_wrong_argument_asks_nobody(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, [*arguments]).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/cases/nowhere", None, 404, "ACCOUNT_UNKNOWN"),
        ("GET", "/cases/binanceus?limit=0", None, 422, "REQUEST_INVALID"),
        ("GET", "/cases/binanceus?limit=501", None, 422, "REQUEST_INVALID"),
        ("GET", "/cases/binanceus?before=0", None, 422, "REQUEST_INVALID"),
        ("GET", f"/cases/binanceus?before={2**63}", None, 422, "REQUEST_INVALID"),
        ("GET", "/cases/binanceus?open=perhaps", None, 422, "REQUEST_INVALID"),
        ("POST", "/cases/binanceus/7/close", "{}", 422, "REQUEST_INVALID"),
        ("POST", "/cases/binanceus/7/close", "[]", 422, "REQUEST_INVALID"),
        ("POST", "/cases/binanceus/7/close", "", 400, "BODY_UNREADABLE"),
        ("POST", "/cases/binanceus/7/close", '{"because": "x", "b": 1}', 422, "REQUEST_INVALID"),
        ("POST", "/cases/binanceus/x/close", '{"because": "x"}', 404, "CASE_NOT_FOUND"),
        ("POST", f"/cases/binanceus/{2**63}/close", '{"because": "x"}', 404, "CASE_NOT_FOUND"),
        ("POST", "/cases/nowhere/7/close", '{"because": "x"}', 404, "ACCOUNT_UNKNOWN"),
        ("POST", "/exchanges/nowhere/reconcile", None, 404, "ACCOUNT_UNKNOWN"),
    ],
)
async def test_bad_input_is_a_problem_without_temporal_and_ledger(
    method: str, path: str, body: str | None, status: int, code: str
) -> None:
    application = create_app(Settings(temporal_address="127.0.0.1:1", database_url="postgresql://u:p@127.0.0.1:1/x"))
    transport = httpx2.ASGITransport(app=application)
    async with (
        application.router.lifespan_context(application),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client,
    ):
        answer = await client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
