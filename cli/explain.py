"""`volex explain`: an order's story in plain words, as the REST interface tells it."""

import json as json_text
from typing import Annotated, Any

import typer

from cli import render
from cli.account import in_path, reaching
from cli.orders import Account, OrderName
from cli.stack import DataDir


def explain(
    order: OrderName,
    account: Account = None,
    json: Annotated[bool, typer.Option("--json", help="Print the REST interface's JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Tell an order's story: what happened when, on what evidence, and what would have happened otherwise.

    Example: volex explain a3f0c2d4e5b60718
    """
    from cli.addresses import find

    with reaching(data_dir, json=json) as rest:
        name = find(data_dir).account(account)
        told = rest.get(f"/orders/{in_path(name)}/{in_path(order)}/explain")
    if json:
        typer.echo(told)
    else:
        _show(json_text.loads(told, parse_float=str))


def _show(told: dict[str, Any]) -> None:
    render.say(told["summary"])
    figures = {name: value for name, value in told["figures"].items() if value is not None}
    render.say(", ".join(f"{name}={value}" for name, value in figures.items()))
    for chapter in told["story"]:
        after = f" (+{chapter['after_s']} s)" if "after_s" in chapter else ""
        render.say(f"{chapter['time']}{after}  {chapter['text']}")
        evidence = chapter["evidence"]
        if evidence:
            render.say(f"    evidence: {_evidence(evidence)}")
        if "otherwise" in chapter:
            render.say(f"    otherwise: {chapter['otherwise']}")
    if told["workflow_url"]:
        render.say(told["workflow_url"])


def _evidence(fact: dict[str, Any]) -> str:
    """Say in a line what a fact rests on; `--json` shows all of it."""
    parts = [f"fact {fact['seq']} {fact['type']}, recorded {fact['recorded_at']}"]
    found = fact.get("rests_on")
    if isinstance(found, list):
        parts.append(f"{len(found)} limits looked at")
    elif isinstance(found, dict):
        parts += [f"{name}={found[name]}" for name in ("venue_order_id", "status", "cum_qty", "code") if name in found]
    return ", ".join(parts)


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(explain)
