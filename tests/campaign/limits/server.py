"""A Postgres of the command's own, with a migrated and empty ledger."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.child import Child, free_port
from embedded.postgres_server import PostgresServer
from storage.migrate import upgrade


@contextmanager
def empty_ledger(prefix: str) -> Iterator[str]:
    """Run a server, and give out the ledger's address. No event loop runs meanwhile: who uses it may fork."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name, asyncio.Runner() as runner:
        directory = Path(name)
        directory.chmod(0o711)  # the server may run as another user
        server = PostgresServer(directory / "postgres", port=free_port(), log_path=directory / "postgres.log")
        server.prepare()
        child = runner.run(Child.start(server.spec()))
        try:
            runner.run(_ready(server, child))
            yield server.url()
        finally:
            runner.run(child.stop())


async def _ready(server: PostgresServer, child: Child) -> None:
    await server.until_ready(child)
    await upgrade(server.url())
