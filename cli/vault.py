"""`volex vault init`: writes a commented example of the secrets that volex reads from Vault."""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.exit_codes import EPILOG
from domain.errors import ConfigurationError

app: Final = typer.Typer(help="Vault: an example of what volex reads there.", no_args_is_help=True)


@app.callback()
def _vault() -> None:
    """Keep `init` a command of its own: with one command alone, typer would leave its name out."""


@app.command(epilog=EPILOG)
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it; a file that is there is never overwritten.")] = Path(
        "vault-example.sh"
    ),
) -> None:
    """Write a shell script with `vault kv put` lines for both secrets, commented. Nothing is sent to Vault.

    Example: volex vault init vault-example.sh
    """
    from credentials.vault_example import example
    from settings import load_vault_settings

    text = example(mount=load_vault_settings().vault_mount, name=path.name)
    try:
        # Readable by its owner alone: keys will be written into it.
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text, "utf-8")
    except FileExistsError:
        raise ConfigurationError(f"{path} is there already", advice="Name another file; none is overwritten.") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", advice="Name a file that can be written.") from None
    typer.echo(f"Wrote {path}. Fill it in, run it with sh, and delete it.")


def register(parent: typer.Typer) -> None:
    """Mount the command."""
    parent.add_typer(app, name="vault")
