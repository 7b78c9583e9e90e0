"""The `volex` command: mounts the command modules. Heavy imports happen inside commands, so that help is quick.

Exit codes: 0 done, 1 failed, 2 wrong arguments or settings.
"""

import sys
from typing import Final

import typer

from cli import demo, stack
from domain.errors import ConfigurationError, ExecutionError

app: Final = typer.Typer(
    name="volex",
    help="Order execution for crypto exchanges: every order is a durable workflow, placed exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
stack.register(app)
demo.register(app)


def main() -> None:
    """Run the command. An error of ours is one line that says what to do, never a trace."""
    try:
        app()
    except ExecutionError as error:
        typer.echo(f"{error.code}: {error.message}. {error.what_to_do}", err=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)


if __name__ == "__main__":
    main()
