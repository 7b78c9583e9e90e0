"""The `volex` command: mounts the command modules. Heavy imports happen inside commands, so that help is quick."""

import os
import sys
from typing import Final

import typer

from cli import (
    account,
    accounts,
    approvals,
    audit,
    backup,
    builds,
    cases,
    demo,
    doctor,
    doubts,
    equity,
    explain,
    keys,
    kill,
    notify,
    orders,
    render,
    replay,
    report,
    risk,
    stack,
    tca,
    vault,
)
from cli.exit_codes import EPILOG, code_of
from domain.errors import ExecutionError

app: Final = typer.Typer(
    name="volex",
    help="Order execution for crypto exchanges: every order is a durable workflow, placed exactly once.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
stack.register(app)
demo.register(app)
app.add_typer(orders.app, name="order")
doubts.register(orders.app)
account.register(app)
equity.register(app)
report.register(app)
tca.register(app)
explain.register(app)
replay.register(app)
backup.register(app)
builds.register(app)
cases.register(app)
approvals.register(app)
kill.register(app)
risk.register(app)
audit.register(app)
doctor.register(app)
accounts.register(app)
vault.register(app)
notify.register(app)
keys.register(app)


def main() -> None:
    """Run the command. An error of ours is one line that says what to do, never a trace."""
    try:
        app()
    except ExecutionError as error:
        render.error(error, json=False)
        sys.exit(code_of(error))
    except SystemExit as end:
        if "temporalio.bridge" in sys.modules and isinstance(end.code, int | None):
            # Temporal's native threads can crash a process that ends in the ordinary way, and change its exit code.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code or 0)
        raise


if __name__ == "__main__":
    main()
