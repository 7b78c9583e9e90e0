"""`volex notify test`: tells every configured channel of a test alert, and says who took it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from cli.exit_codes import EPILOG
from domain.alerts import Alert, AlertChannel, Notice, NoticeState
from domain.errors import ConfigurationError, NoticeNotDelivered

app: Final = typer.Typer(help="Alerts: whether people can be told.", no_args_is_help=True)


@app.callback()
def _notify() -> None:
    """Keep `test` a command of its own: with one command alone, typer would leave its name out."""


@app.command(epilog=EPILOG)
def test() -> None:
    """Send one test alert over each channel of [notify] in the settings, past the queue.

    Example: volex notify test
    """
    from credentials import load_seen_settings
    from worker_alerts import open_channels

    channels = open_channels(load_seen_settings().notify)
    if not channels:
        raise ConfigurationError(
            "nobody is to be told of alerts", advice="Set notify.webhook_url, notify.slack_url or notify.smtp_host."
        )
    told = asyncio.run(_tell_all(channels))
    for name, error in told.items():
        typer.echo(f"{name}: {error or 'taken'}")
    if any(told.values()):
        raise typer.Exit(1)


async def _tell_all(channels: Sequence[AlertChannel]) -> Mapping[str, str]:
    now = datetime.now(UTC)
    alert = Alert(alert_id=0, code="TEST", fingerprint="test", summary="a test of the way to you", started_at=now)
    told = {}
    for channel in channels:
        try:
            await channel.send([Notice(alert=alert, state=NoticeState.FIRING, attempts=1)])
            told[channel.name] = ""
        except NoticeNotDelivered as error:
            told[channel.name] = error.message
        finally:
            await channel.close()
    return told


def register(parent: typer.Typer) -> None:
    """Mount the command."""
    parent.add_typer(app, name="notify")
