"""A real Vault under working orders: started, rotated, sealed, unsealed, restarted. None lost, doubled, or leaked."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from embedded.child import python_module
from simulator.running import API_KEY, SECRET_KEY
from tests.faults.floor import Floor, figures, open_floor
from tests.vault_server import VaultServer

pytestmark = pytest.mark.timeout(200)
KEYS = [(API_KEY, SECRET_KEY), *((f"rotated-key-{n}-41c7", f"rotated-secret-{n}-9d02") for n in range(1, 5))]


class Vaulted:
    """The stack whose only account takes its keys from the Vault."""

    def __init__(self, floor: Floor, vault: VaultServer) -> None:
        self.floor = floor
        self.vault = vault
        self.generation = 0

    async def venue_changes_keys(self) -> tuple[str, str]:
        """Let the venue take the next key only, as from now."""
        old, new = KEYS[self.generation], KEYS[self.generation + 1]
        self.generation += 1
        answer = await self.floor.venue.post("/keys", json={"add": {new[0]: new[1]}, "revoke": [old[0]]})
        answer.raise_for_status()
        return new

    async def rotate(self) -> None:
        """Write the next key to Vault, and let the venue take it only."""
        new = KEYS[self.generation + 1]
        await asyncio.to_thread(self.vault.write, "api_keys/binanceus", api_key=new[0], secret_key=new[1])
        await self.venue_changes_keys()

    async def health(self, wanted: str) -> dict[str, Any]:
        """Wait until the REST interface tells so of Vault; return what it tells."""
        async with asyncio.timeout(15):
            while True:
                told: dict[str, Any] = (await self.floor.rest.get("/health")).json()
                if told["components"]["vault"] == wanted:
                    return told
                await asyncio.sleep(0.2)


@pytest.fixture
async def vaulted(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vaulted]:
    vault = VaultServer(tmp_path_factory.mktemp("own-vault"))
    try:
        await asyncio.to_thread(vault.start)
        role_id, secret_id = vault.make_role(token_ttl="20s")
        vault.write("api_keys/binanceus", api_key=API_KEY, secret_key=SECRET_KEY)
        vault.write("agents/execution", enabled_exchanges="['binanceus']", dry_run_mode="False", max_order_size="90000")
        environ = {
            "VAULT_ADDR": vault.address,
            "VAULT_ROLE_ID": role_id,
            "VAULT_SECRET_ID": secret_id,
            "VAULT_REFRESH_S": "3600",  # so that only the venue's refusal leads to the new keys
        }
        async with open_floor(tmp_path, vault=environ) as floor:
            made = Vaulted(floor, vault)
            yield made
            floor_dir = floor.stack.data.path
            await _nothing_leaked(floor, floor_dir, _secrets(vault, secret_id))
    finally:
        vault.stop()


async def test_orders_live_through_rotation_sealing_and_restart_of_vault(vaulted: Vaulted) -> None:
    floor, began = vaulted.floor, time.monotonic()
    resting = await floor.place("rest", order_type="limit", price=Decimal("59000"), amount=Decimal("0.3"))
    partly = await floor.place("part", order_type="limit", price=Decimal("59000"), amount=Decimal("0.2"))
    await floor.market(fill={"client_order_id": partly["id"], "quantity": "0.05"})

    await vaulted.rotate()
    placed = [await floor.place("rotated")]

    await floor.fault("drop_after", method="POST", path="/order", times=1)
    before = await floor.requests()
    doubted = asyncio.create_task(floor.place("doubted"))
    await floor.until_requests(before + 1)
    await vaulted.rotate()
    placed.append(await doubted)
    await floor.until_final(placed[-1]["id"])
    placed.append(await floor.place("known"))  # the doubt may have ended before the rotation: now its keys are known

    await asyncio.to_thread(vaulted.vault.seal)
    assert (await vaulted.health("unavailable"))["status"] == "degraded"
    placed.append(await floor.place("cached"))

    new = await vaulted.venue_changes_keys()
    before = await _turned_away(floor)
    turned_away = asyncio.create_task(floor.place("turned-away"))
    await _until_turned_away(floor, more_than=before)
    await asyncio.to_thread(vaulted.vault.unseal)
    await asyncio.to_thread(vaulted.vault.write, "api_keys/binanceus", api_key=new[0], secret_key=new[1])
    placed.append(await turned_away)

    await asyncio.to_thread(vaulted.vault.stop)
    await asyncio.to_thread(vaulted.vault.launch)  # sealed
    floor.stack.part("worker").kill()
    await _until_logged(floor, "would not be in paper mode")
    await asyncio.to_thread(vaulted.vault.unseal)
    await asyncio.wait_for(floor.stack.part("worker").until_ready(), 60)
    placed.append(await floor.place("after-restart"))
    assert (await vaulted.health("ok"))["status"] == "healthy"

    await floor.market(fill={"client_order_id": partly["id"], "quantity": "0.15"})
    ended = [await floor.until_final(order["id"]) for order in (*placed, partly)]
    assert [order["lifecycle"] for order in ended] == ["FILLED"] * len(ended)
    canceled = await floor.rest.delete(f"/orders/binanceus/{resting['id']}")
    assert canceled.json()["lifecycle"] == "CANCELED"
    await floor.assert_the_venue_agrees([*ended, await floor.order(resting["id"])])
    await floor.assert_the_books_close()
    assert vaulted.generation == 3
    await _accounts_are_shown(floor)
    await _strict_keys_refuse_to_start(floor)
    figures("vault", {"seconds": round(time.monotonic() - began, 1)})


async def _accounts_are_shown(floor: Floor) -> None:
    command = [*python_module("cli.main"), "accounts", "--json", "--data-dir", str(floor.stack.data.path / "none")]
    code, told, _ = await _run(command, floor.stack.environment)
    (row,) = json.loads(told)
    assert (code, row["mode"], row["exchange"], row["keys"]) == (0, "live", "binanceus", "ok")
    assert (row["permissions"]["trade"], row["permissions"]["withdraw"]) == (True, False)


async def _strict_keys_refuse_to_start(floor: Floor) -> None:
    """A worker that is told to be strict ends at once when the venue says that the key may withdraw."""
    (await floor.venue.post("/keys", json={"may_withdraw": True})).raise_for_status()
    code, _, said = await _run(python_module("worker"), {**floor.stack.environment, "STRICT_KEYS": "true"})
    assert (code, "the key of account 'binanceus' may withdraw" in said) == (2, True), said[-2000:]


async def _run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int | None, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=dict(environ), stdout=pipe, stderr=pipe)
    try:
        told, said = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, told.decode(), said.decode()


async def _turned_away(floor: Floor) -> int:
    """Return how many attempts have ended unsent for their key."""
    query = "SELECT count(*) FROM order_events WHERE event_type = 'NOT_SENT' AND document->'reason'->>'code' = $1"
    return int(await floor.database.fetchval(query, "CREDENTIALS_REFUSED"))


async def _until_turned_away(floor: Floor, *, more_than: int) -> None:
    async with asyncio.timeout(20):
        while await _turned_away(floor) <= more_than:
            await asyncio.sleep(0.05)


async def _until_logged(floor: Floor, text: str) -> None:
    path = floor.stack.data.log_path("worker")
    async with asyncio.timeout(20):
        while text not in path.read_text("utf-8", "replace"):
            await asyncio.sleep(0.1)


def _secrets(vault: VaultServer, secret_id: str) -> Mapping[str, bytes]:
    found = {f"key {n}": key for n, (key, _) in enumerate(KEYS)} | {
        f"secret {n}": own for n, (_, own) in enumerate(KEYS)
    }
    found |= {"secret id": secret_id, "root token": vault.root_token, "a Vault token": "hvs.CAES"}
    return {name: secret.encode() for name, secret in found.items()}


async def _nothing_leaked(floor: Floor, data: Path, secrets: Mapping[str, bytes]) -> None:
    """Look for every secret in all that the stack has written: logs, Temporal's store, and each row of the ledger.

    What must be there has to be found too, or this looks in the wrong place.
    """
    shown = (await floor.database.fetchval("SELECT order_id FROM orders LIMIT 1")).encode()
    tables = await floor.database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [await floor.database.fetch(f'SELECT t::text AS row FROM "{name}" t') for (name,) in tables]
    written = {"the ledger": "\n".join(row["row"] for table in rows for row in table).encode()}
    for path in data.rglob("*"):
        if path.is_file() and not path.is_relative_to(data / "simulator"):
            written[str(path.relative_to(data))] = path.read_bytes()
    for place, content in written.items():
        leaked = [name for name, secret in secrets.items() if secret in content]
        assert not leaked, f"{place} holds {leaked}"
    seen = {place.partition(".")[0].partition("/")[0] for place, content in written.items() if shown in content}
    assert {"the ledger", "temporal"} <= seen, seen
    assert b"keys_changed" in written["logs/worker.log"]
