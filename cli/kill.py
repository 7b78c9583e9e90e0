"""`volex kill on|list|history|lift` and `volex deadman arm|beat|disarm|list`: stop trading, by hand or by silence."""

import json as json_text
from typing import Annotated, Any, Final

import typer

from cli import render
from cli.account import AsJson, Rest, reaching
from cli.cases import _user
from cli.exit_codes import EPILOG, ExitCode
from cli.stack import DataDir

kill: Final = typer.Typer(
    help="Stop orders of a scope at once, and lift that again.", no_args_is_help=True, epilog=EPILOG
)
deadman: Final = typer.Typer(help="Cancel an agent's orders when it falls silent.", no_args_is_help=True, epilog=EPILOG)

Scope = Annotated[str, typer.Option("--scope", help="firm, account:NAME, strategy:NAME, symbol:BTC/USDT or key:NAME.")]
SWITCH_COLUMNS: Final = ("scope", "since", "by", "code", "reason", "cancels", "flattens", "lift asked for by")
EVENT_COLUMNS: Final = ("id", "at", "what", "scope", "by", "why", "figures")
DEADMAN_COLUMNS: Final = ("scope", "timeout_s", "armed_by", "beat_at", "fired_at", "stop_admission")


@kill.command(epilog=EPILOG)
def on(
    scope: Scope,
    reason: Annotated[str, typer.Option(help="Why: it is recorded.")],
    cancel_orders: Annotated[bool, typer.Option("--cancel-orders", help="Cancel every open order of it.")] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="Then close its positions, at the market.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Pull the kill switch: from the answer on, no order of the scope is sent. Cancels always pass.

    Example: volex kill on --scope firm --reason "prices look wrong" --cancel-orders
    """
    body = {"scope": scope, "reason": reason, "cancel_orders": cancel_orders, "flatten": flatten}
    told = _post("/risk/kill", body, json=json, data_dir=data_dir)
    if told is None:
        return
    word = "is on" if told["fresh"] else "was on already, and stays on"
    render.say(f"The kill switch of {told['scope']} {word}: {told['reason']} ({told['engaged_by']})")
    if told["in_flight"]:
        render.say(f"{told['in_flight']} requests were on their way, and have left; {told['unanswered']} unanswered")
    if told["flatten"] or told["cancel_orders"]:
        render.say("Its orders are being canceled: volex order list; volex kill history")
    render.say(f'Lift it: volex kill lift --scope {told["scope"]} --because "…"')


@kill.command("list", epilog=EPILOG)
def list_switches(json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the kill switches that are on.

    Example: volex kill list
    """
    with reaching(data_dir, json=json) as rest:
        text = rest.get("/risk/kill")
    if json:
        typer.echo(text)
        return
    found: list[dict[str, Any]] = json_text.loads(text)
    if not found:
        render.say("No kill switch is on.")
        return
    render.table(SWITCH_COLUMNS, (_switch_row(switch) for switch in found))


@kill.command(epilog=EPILOG)
def history(
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 100,
    before: Annotated[int | None, typer.Option(min=1, metavar="ID", help="Only those before this one.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List who pulled and lifted which switch, when and why, newest first.

    Example: volex kill history --limit 20
    """
    parameters = {"limit": str(limit), **({"before": str(before)} if before is not None else {})}
    with reaching(data_dir, json=json) as rest:
        text = rest.get("/risk/kill/history", **parameters)
    if json:
        typer.echo(text)
        return
    render.table(EVENT_COLUMNS, (_event_row(event) for event in json_text.loads(text, parse_float=str)))


@kill.command(epilog=EPILOG)
def lift(
    scope: Scope,
    because: Annotated[str | None, typer.Option(help="First step: why.")] = None,
    confirm: Annotated[str | None, typer.Option(metavar="CODE", help="Second step: the code of the first.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Lift a kill switch, in two steps within five minutes: say why, then repeat the code.

    Examples:

    volex kill lift --scope firm --because "prices are right again"

    volex kill lift --scope firm --confirm 4f07a2
    """
    if (because is None) == (confirm is None):
        raise typer.BadParameter("name either --because (first step) or --confirm CODE (second step)")
    body = {"scope": scope, **({"because": because} if because is not None else {"confirm": confirm})}
    told = _post("/risk/kill/lift", body, json=json, data_dir=data_dir)
    if told is None:
        return
    if because is not None:
        render.say(
            f"Still on. Until {told['valid_until']}: volex kill lift --scope {scope} --confirm {told['confirm']}"
        )
    else:
        render.say(f"The kill switch of {scope} is lifted, {told['why']}.")


@deadman.command(epilog=EPILOG)
def arm(
    scope: Scope,
    timeout_s: Annotated[int, typer.Option("--timeout-s", min=1, max=86_400, help="Seconds without a heartbeat.")],
    stop_admission: Annotated[bool, typer.Option("--stop-admission", help="Pull the kill switch too.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Cancel the scope's working orders when no heartbeat comes for so long.

    Example: volex deadman arm --scope strategy:momentum --timeout-s 30
    """
    body = {"scope": scope, "timeout_s": timeout_s, "stop_admission": stop_admission}
    _show_deadman(_post("/risk/deadman", body, json=json, data_dir=data_dir))


@deadman.command(epilog=EPILOG)
def beat(scope: Scope, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Send a heartbeat; one that had fired is armed again.

    Example: volex deadman beat --scope strategy:momentum
    """
    _show_deadman(_post("/risk/deadman/beat", {"scope": scope}, json=json, data_dir=data_dir))


@deadman.command(epilog=EPILOG)
def disarm(scope: Scope, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Take a dead-man switch away.

    Example: volex deadman disarm --scope strategy:momentum
    """
    _show_deadman(_post("/risk/deadman/disarm", {"scope": scope}, json=json, data_dir=data_dir))


@deadman.command("list", epilog=EPILOG)
def list_deadmen(json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the dead-man switches.

    Example: volex deadman list
    """
    with reaching(data_dir, json=json) as rest:
        text = rest.get("/risk/deadman")
    if json:
        typer.echo(text)
        return
    found: list[dict[str, Any]] = json_text.loads(text)
    if not found:
        render.say("No dead-man switch is armed.")
        return
    render.table(DEADMAN_COLUMNS, ([each[name] for name in DEADMAN_COLUMNS] for each in found))


def _post(path: str, body: dict[str, Any], *, json: bool, data_dir: DataDir) -> dict[str, Any] | None:
    """Ask, with who asks; `None` when the answer was printed as it came."""
    with reaching(data_dir, json=json) as rest:
        text = _posted(rest, path, {**body, "by": f"cli:{_user()}"[:64]})
    if json:
        typer.echo(text)
        return None
    told: dict[str, Any] = json_text.loads(text)
    return told


def _posted(rest: Rest, path: str, body: dict[str, Any]) -> str:
    from cli.account import RestRefused

    try:
        return rest.post(path, body)
    except RestRefused as refused:
        if refused.status in (404, 409):
            refused.exit_code = ExitCode.REFUSED
        raise


def _switch_row(switch: dict[str, Any]) -> list[object]:
    options = ["yes" if switch[name] else None for name in ("cancel_orders", "flatten")]
    told = [switch[name] for name in ("scope", "engaged_at", "engaged_by", "code", "reason")]
    return [*told, *options, switch["lift_asked_by"]]


def _event_row(event: dict[str, Any]) -> list[object]:
    figures = ", ".join(f"{name}={value}" for name, value in event["numbers"].items())
    return [*(event[name] for name in ("id", "at", "kind", "scope", "by", "why")), figures]


def _show_deadman(told: dict[str, Any] | None) -> None:
    if told is not None:
        render.table(DEADMAN_COLUMNS, [[told[name] for name in DEADMAN_COLUMNS]])


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    main.add_typer(kill, name="kill")
    main.add_typer(deadman, name="deadman")
