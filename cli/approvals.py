"""`volex approvals list|approve|reject`: orders that wait for a person, and the person's word."""

import json as json_text
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cli import render
from cli.account import reaching
from cli.exit_codes import EPILOG, ExitCode
from cli.orders import Account, AsJson, OrderName, run, who
from cli.stack import DataDir

if TYPE_CHECKING:
    from starter.client import ExecutionClient
    from workflows.messages import ApprovalAnswer

app: Final = typer.Typer(help="Orders that wait for a person's word.", no_args_is_help=True, epilog=EPILOG)

Because = Annotated[str, typer.Option(help="Why: it is recorded with the decision.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; who is logged in if left out.")]
Fingerprint = Annotated[
    str | None, typer.Option(metavar="HEX", help="The ticket that is meant, from `volex approvals list --json`.")
]
OneOrAll = Annotated[str | None, typer.Option("--account", "-a", help="Every configured account if left out.")]


@app.command("list", epilog=EPILOG)
def list_approvals(
    state: Annotated[
        Literal["open", "decided", "all"], typer.Option("--status", help="Which; open are those that wait.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 100,
    before: Annotated[int | None, typer.Option(min=1, metavar="ID", help="Only those asked for before this.")] = None,
    account: OneOrAll = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List orders that wait for approval, newest first: what is asked for, why a person is asked, and until when.

    Example: volex approvals list --status all
    """
    parameters = {"status": state, "limit": str(limit)}
    parameters |= {"exchange": account} if account is not None else {}
    parameters |= {"before": str(before)} if before is not None else {}
    with reaching(data_dir, json=json) as rest:
        page = rest.get("/approvals", **parameters)
    if json:
        typer.echo(page)
        return
    found = json_text.loads(page, parse_float=str)
    if not found:
        render.say("Nothing waits for approval." if state == "open" else "No approval.")
        return
    columns = ["id", "account", "order", "ticket", "why", "asked by", "expires"] + ["decided"] * (state != "open")
    render.table(columns, (_row(approval, decided=state != "open") for approval in found))
    if len(found) == limit:
        typer.echo(f"More: volex approvals list --status {state} --before {found[-1]['id']}", err=True)


def _row(approval: Mapping[str, Any], *, decided: bool) -> list[object]:
    figures = ", ".join(f"{name}={value}" for name, value in approval["numbers"].items())
    row = [approval[name] for name in ("id", "exchange", "order_id", "ticket")]
    row += [f"{approval['code']}: {figures or approval['text']}", approval["asked_by"], approval["expires_at"]]
    if not decided:
        return row
    if approval["decision"] is None:
        return [*row, None]
    by = f" by {approval['decided_by']}" if approval["decided_by"] else ""
    return [*row, f"{approval['decision']}{by} {approval['decided_at']}: {approval['because']}"]


@app.command(epilog=EPILOG)
def approve(
    order: OrderName,
    because: Because,
    by: By = None,
    fingerprint: Fingerprint = None,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Approve an order. Price and limits are checked once more: it is placed, or denied with the numbers.

    Who asked for the order cannot approve it.

    Example: volex approvals approve a3f0c2d4e5b60718 --because "within the plan of today"
    """

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        answered = await client.approve_order(
            order, account=account, by=by or who(), because=because, fingerprint=fingerprint
        )
        return _show(answered, json=json)

    run(work, account, json=json, data_dir=data_dir)


@app.command(epilog=EPILOG)
def reject(
    order: OrderName,
    because: Because,
    by: By = None,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Reject an order: it ends, and nothing is sent.

    Example: volex approvals reject a3f0c2d4e5b60718 --because "twice the plan"
    """

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        answered = await client.reject_order(order, account=account, by=by or who(), because=because)
        return _show(answered, json=json, meant="rejected")

    run(work, account, json=json, data_dir=data_dir)


def _show(answered: "ApprovalAnswer", *, json: bool, meant: str = "approved") -> ExitCode:
    """Print what came of it. A word that came to something else than was meant ends with `REFUSED`."""
    order = answered.view.order
    if json:
        from api.approvals import approved_json

        assert order is not None, "an order that was decided on is recorded"
        render.as_json(approved_json(order, answered))
    else:
        render.say(f"{answered.told}.")
        render.say(render.order_line(answered.view))
    if answered.decision != meant:
        return ExitCode.REFUSED
    from workflows.order_display import is_undecided

    undecided = order is None or is_undecided(order)
    return ExitCode.UNDECIDED if undecided else ExitCode.DONE


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    main.add_typer(app, name="approvals")
