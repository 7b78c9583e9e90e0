"""What Vault holds for the agent, its token over time, and its being away: against a real server."""

import asyncio
import base64
import json
import logging
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.doctor import _vault
from cli.main import app
from credentials import load_all_settings, load_seen_settings, open_vault
from credentials.key_ring import KeyRing
from credentials.vault_login import VaultLogin
from credentials.vault_store import VaultCredentialStore
from domain.errors import ConfigurationError, CredentialsUnavailable
from domain.keys import KeyChange
from domain.order import TradingMode
from embedded.configuration import StackConfiguration
from settings import VaultSettings, load_settings
from tests.vault_server import VaultServer

LIVE = 'dry_run_mode = false\n[accounts.kraken]\nexchange = "kraken"\nmode = "live"\ncredentials = "vault"\n'
WRITTEN = {
    "enabled_exchanges": "['binanceus', 'coinbase']",
    "dry_run_mode": "False",
    "default_exchange": "coinbase",
    "max_order_size": "1000.50",
    "rate_limit_per_minute": "60",
    "risk_agent_secret": "a-secret-of-the-risk-agent",
}
ROLE = {"token_ttl": "1s", "token_max_ttl": "2s"}


@pytest.fixture
def vault(vault_server: VaultServer) -> Iterator[VaultServer]:
    """Return the server with nothing written for the agent."""
    yield vault_server
    with suppress(Exception):
        vault_server.admin.secrets.kv.v2.delete_metadata_and_all_versions("agents/execution", mount_point="secret")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def environment(vault: VaultServer, **more: str) -> dict[str, str]:
    return {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token, **more}


def test_agents_settings_as_text_become_settings_and_the_environment_is_stronger(vault: VaultServer) -> None:
    vault.write("agents/execution", **WRITTEN)
    found = load_all_settings(environment(vault, RISK__AGENT__URL="http://127.0.0.1:1/"))
    assert {name: (entry.exchange, entry.credentials) for name, entry in found.accounts.items()} == {
        "binanceus": ("binanceus", "vault"),
        "coinbase": ("coinbase", "vault"),
    }
    assert (found.dry_run_mode, found.default_exchange, found.rate_limit_per_minute) == (False, "coinbase", 60)
    assert found.risk.max_order_notional == Decimal("1000.50")
    assert found.risk.agent.secret == SecretStr(WRITTEN["risk_agent_secret"])
    assert {found.mode_of(name) for name in found.accounts} == {TradingMode.PAPER}
    assert load_all_settings(environment(vault, DRY_RUN_MODE="true")).dry_run_mode is True
    assert load_seen_settings(environment(vault)).default_exchange == "coinbase"


def test_json_notation_and_values_that_are_no_text_are_read_alike(vault: VaultServer) -> None:
    vault.write("agents/execution", enabled_exchanges='["kraken"]', dry_run_mode="true")
    assert list(load_all_settings(environment(vault)).accounts) == ["kraken"]
    vault.write("agents/execution", enabled_exchanges=["kraken", "okx"], dry_run_mode=False, rate_limit_per_minute=30)
    found = load_all_settings(environment(vault))
    assert (list(found.accounts), found.dry_run_mode, found.rate_limit_per_minute) == (["kraken", "okx"], False, 30)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("enabled_exchanges", "binanceus, coinbase"),
        ("enabled_exchanges", "[]"),
        ("enabled_exchanges", "[1]"),
        ("enabled_exchanges", "__import__('os').getcwd()"),
        ("dry_run_mode", "maybe"),
        ("rate_limit_per_minute", "-1"),
        ("rate_limit_per_minute", "1.5"),
        ("max_order_size", "1e400"),
        ("risk_agent_secret", "short"),
    ],
)
def test_field_that_cannot_be_read_is_named_without_its_value(field: str, written: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, vault={field: written})
    assert ("risk" if field in ("max_order_size", "risk_agent_secret") else field) in caught.value.message
    assert written == "[]" or field == "max_order_size" or written not in str(caught.value)


def test_field_that_is_no_setting_is_warned_of_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    load_settings({}, vault={"max_order_sise": "1"})
    assert any("did you mean max_order_size?" in getattr(record, "text", "") for record in caplog.records)


def test_venue_that_the_file_trades_on_already_gets_no_second_account(tmp_path: Path) -> None:
    path = tmp_path / "volex.toml"
    path.write_text('[accounts.main]\nexchange = "kraken"\n[accounts.okx]\nexchange = "okx"\nmode = "paper"\n')
    found = load_settings({"VOLEX_CONFIG": str(path)}, vault={"enabled_exchanges": '["kraken", "okx", "gate"]'})
    assert {name: entry.exchange for name, entry in found.accounts.items()} == {
        "main": "kraken",
        "okx": "okx",
        "gate": "gate",
    }
    assert found.accounts["okx"].credentials == "none"


def test_vault_that_is_down_at_the_start_stops_live_and_not_paper(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "hunter2-token"}
    with caplog.at_level(logging.WARNING):
        assert load_all_settings(away).mode_of("binanceus") is TradingMode.PAPER
    assert "vault_unavailable" in caplog.messages
    path = tmp_path / "live.toml"
    path.write_text(LIVE)
    with pytest.raises(ConfigurationError, match="kraken would not be in paper mode") as caught:
        load_all_settings({**away, "VOLEX_CONFIG": str(path)})
    assert "hunter2" not in f"{caught.value} {caught.value.what_to_do}"
    path.write_text(LIVE.replace("dry_run_mode = false\n", ""))
    with pytest.raises(ConfigurationError, match="kraken"):
        load_all_settings({**away, "VOLEX_CONFIG": str(path)})  # Vault alone could tell that this is a dry run
    assert load_all_settings({**away, "VOLEX_CONFIG": str(path), "DRY_RUN_MODE": "true"}).dry_run_mode
    with pytest.raises(ConfigurationError, match="risk agent's secret"):
        load_all_settings({**away, "RISK__AGENT__URL": "http://127.0.0.1:1/"})


def test_whole_stack_is_refused_before_anything_starts_when_live_and_vault_is_down(tmp_path: Path) -> None:
    path = tmp_path / "live.toml"
    path.write_text(LIVE)
    with pytest.raises(ConfigurationError, match="kraken would not be in paper mode"):
        StackConfiguration(path, {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "t", "API_KEY": "k"})


async def test_doctor_tells_of_vault(vault: VaultServer) -> None:
    vault.write("agents/execution", dry_run_mode="true")
    settings = load_seen_settings(environment(vault))
    (well,) = [finding async for finding in _vault(settings)]
    assert (well.state, "holds dry_run_mode" in well.found) == ("ok", True)
    (ill,) = [finding async for finding in _vault(settings.model_copy(update={"vault_token": SecretStr("wrong-one")}))]
    assert ill.state == "failing" and "wrong-one" not in f"{ill}"


def test_sealed_vault_stops_live_with_a_word(vault: VaultServer, tmp_path: Path) -> None:
    path = tmp_path / "live.toml"
    path.write_text(LIVE)
    vault.seal()
    try:
        with pytest.raises(ConfigurationError, match="gives no answer"):
            load_all_settings(environment(vault, VOLEX_CONFIG=str(path)))
    finally:
        vault.unseal()
    assert load_all_settings(environment(vault, VOLEX_CONFIG=str(path))).mode_of("kraken") is TradingMode.LIVE


async def test_token_is_renewed_before_it_expires_and_replaced_when_it_cannot_be(vault: VaultServer) -> None:
    vault.write("api_keys/gate", api_key="k", secret_key="s")
    role_id, secret_id = vault.make_role("short", **ROLE)
    store = VaultCredentialStore(vault.address, login=VaultLogin(role_id=role_id, secret_id=SecretStr(secret_id)))
    keeping = asyncio.create_task(store.keep())
    try:
        await store.credentials("a", "gate")
        assert store._client is not None
        first = store._client.token
        await asyncio.sleep(1.2)  # beyond the token's life of 1 s
        assert store._client is not None
        assert store._client.token == first
        await asyncio.to_thread(store._client.lookup_token)
        async with asyncio.timeout(5):  # its longest life is 2 s
            while store._client is None or store._client.token == first:
                await asyncio.sleep(0.02)
        assert (await store.credentials("a", "gate")).api_key == SecretStr("k")
    finally:
        keeping.cancel()


async def test_keys_outlive_a_sealed_vault_for_the_time_that_is_configured(vault: VaultServer) -> None:
    now = [0.0]
    vault.write("api_keys/gate", api_key="k1", secret_key="s1")
    store = VaultCredentialStore(vault.address, login=VaultLogin(token=SecretStr(vault.root_token)))
    ring = KeyRing(store, account="a", name="gate", usable_s=60, clock=lambda: now[0])
    await ring.open()
    assert ring.version == 1
    vault.seal()
    try:
        now[0] = 50.0
        assert await ring.renewed_since(1) is KeyChange.UNKNOWN
        assert (ring.keys.api_key, ring.stale_since_s) == (SecretStr("k1"), None)
        with pytest.raises(CredentialsUnavailable):
            await store.probe()
        now[0] = 61.0
        assert ring.stale_since_s == 1.0
    finally:
        vault.unseal()
    assert await ring.renewed_since(1) is KeyChange.SAME
    vault.write("api_keys/gate", api_key="k2", secret_key="s2")
    changes = await asyncio.gather(*(ring.renewed_since(1) for _ in range(5)))
    assert (set(changes), ring.version, ring.keys.api_key) == ({KeyChange.NEWER}, 2, SecretStr("k2"))
    await store.probe()


async def test_vault_that_hangs_keeps_one_thread_and_none_of_asyncios() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = VaultCredentialStore(address, login=VaultLogin(token=SecretStr("t")), timeout_s=1)
        for _ in range(30):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.probe(), 0.01)
        assert await asyncio.wait_for(asyncio.to_thread(int), 0.5) == 0
        assert store._thread._work_queue.qsize() == 0
        with pytest.raises(CredentialsUnavailable, match="gives no answer"):
            await store.probe()


async def test_tls_needs_the_authority_and_says_so(vault: VaultServer) -> None:
    vault.write("api_keys/gate", api_key="k", secret_key="s")
    settings = VaultSettings(vault_addr=vault.tls_address, vault_token=vault.root_token)
    with pytest.raises(CredentialsUnavailable, match="not trusted") as caught:
        await open_vault(settings).credentials("a", "gate")
    assert "VAULT_CACERT" in caught.value.what_to_do
    trusting = settings.model_copy(update={"vault_cacert": vault.cacert})
    assert (await open_vault(trusting).credentials("a", "gate")).secret_key == SecretStr("s")


async def test_namespace_goes_with_every_request_also_the_log_in(vault: VaultServer) -> None:
    vault.write("api_keys/gate", api_key="k", secret_key="s")
    role_id, secret_id = vault.make_role()
    seen: list[tuple[str, str]] = []
    async with _passing_on(vault.address, seen) as address:
        settings = VaultSettings(
            vault_addr=address, vault_role_id=role_id, vault_secret_id=secret_id, vault_namespace="desk/eu"
        )
        assert (await open_vault(settings).credentials("a", "gate")).api_key == SecretStr("k")
    assert [path for path, _ in seen] == ["/v1/auth/approle/login", "/v1/secret/data/api_keys/gate"]
    assert {namespace.strip("/") for _, namespace in seen} == {"desk/eu"}


@asynccontextmanager
async def _passing_on(address: str, seen: list[tuple[str, str]]) -> AsyncIterator[str]:
    """Pass requests on to the real server, which knows no namespaces in its free edition, and note theirs."""

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("X-Vault-Namespace", "")))
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-Vault-T")}
        url, body = f"{address}{request.path_qs}", await request.read()
        async with ClientSession() as http, http.request(request.method, url, data=body, headers=headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")

    async with _serving(handle) as own:
        yield own


async def test_kubernetes_service_account_logs_in_and_its_token_file_is_read_anew(
    vault: VaultServer, tmp_path: Path
) -> None:
    vault.write("api_keys/gate", api_key="k", secret_key="s")
    asked: list[str] = []

    async def review(request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        asked.append(spec["token"])
        user = {"username": "system:serviceaccount:trading:volex", "uid": "1", "groups": []}
        return web.json_response(
            {"status": {"authenticated": True, "user": user, "audiences": spec.get("audiences", [])}}, status=201
        )

    async with _serving(review) as kubernetes:
        await asyncio.to_thread(_allow_kubernetes, vault, kubernetes)
        path = tmp_path / "token"
        store = VaultCredentialStore(
            vault.address, login=VaultLogin(kubernetes_role="volex", kubernetes_token_path=path)
        )
        with pytest.raises(CredentialsUnavailable, match="No such file"):
            await store.credentials("a", "gate")
        path.write_text(_service_account_token("first"))
        assert (await store.credentials("a", "gate")).api_key == SecretStr("k")
        store._client = None
        path.write_text(_service_account_token("second"))
        assert (await store.credentials("a", "gate")).api_key == SecretStr("k")
    assert len(set(asked)) == 2


def _allow_kubernetes(vault: VaultServer, kubernetes: str) -> None:
    admin = vault.admin
    vault.make_role()
    admin.sys.enable_auth_method("kubernetes")
    admin.auth.kubernetes.configure(
        kubernetes_host=kubernetes,
        kubernetes_ca_cert=vault.cacert.read_text(),
        token_reviewer_jwt=_service_account_token("reviewer"),
    )
    admin.auth.kubernetes.create_role(
        "volex", bound_service_account_names=["volex"], bound_service_account_namespaces=["trading"], policies=["volex"]
    )


def _service_account_token(jti: str) -> str:
    """Write a token as a cluster would. Its signature is the cluster's affair, which is asked."""
    claims: dict[str, Any] = {
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:trading:volex", "jti": jti,
        "kubernetes.io": {"namespace": "trading", "serviceaccount": {"name": "volex", "uid": "1"}},
        "exp": 4102444800, "iat": 1700000000, "nbf": 1700000000, "aud": ["https://kubernetes.default.svc"],
    }  # fmt: skip
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"signature"))


@asynccontextmanager
async def _serving(handler: Any) -> AsyncIterator[str]:
    made = web.Application()
    made.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(made)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_init_writes_an_example_for_its_owner_alone_and_never_over_a_file(tmp_path: Path, vault: VaultServer) -> None:
    made = CliRunner().invoke(app, ["vault", "init"])
    path = tmp_path / "vault-example.sh"
    assert (made.exit_code, stat.S_IMODE(path.stat().st_mode)) == (0, 0o600)
    text = path.read_text()
    assert all(f"{name}=" in text for name in WRITTEN if name != "risk_agent_secret")
    path.write_text("mine")
    again = CliRunner().invoke(app, ["vault", "init"])
    assert (again.exit_code, path.read_text()) == (1, "mine")
    assert isinstance(again.exception, ConfigurationError)
