"""Credentials: the environment by account name, and a real Vault."""

import socket

import hvac
import pytest
from pydantic import SecretStr

from credentials import open_credentials
from credentials.environment import EnvCredentialStore
from credentials.vault_login import VaultLogin
from credentials.vault_store import VaultCredentialStore
from domain.errors import ConfigurationError, CredentialsUnavailable
from settings import AccountSettings, Settings
from tests.vault_server import VaultServer


async def test_environment_is_read_by_account_name_in_capitals():
    store = EnvCredentialStore({"MY_ACC_API_KEY": "k", "MY_ACC_SECRET_KEY": "s", "MY_ACC_UID": "u", "API_KEY": "x"})
    found = await store.credentials("my-acc", "kraken")
    assert found.api_key == SecretStr("k")
    assert (found.secret_key, found.passphrase, found.uid) == (SecretStr("s"), None, SecretStr("u"))


async def test_environment_without_keys_names_the_variables_to_set():
    with pytest.raises(CredentialsUnavailable) as caught:
        await EnvCredentialStore({"BINANCEUS_API_KEY": ""}).credentials("binanceus", "binanceus")
    assert "BINANCEUS_API_KEY and BINANCEUS_SECRET_KEY" in caught.value.what_to_do


def _settings(credentials: str, **more: object) -> Settings:
    return Settings(accounts={"a": AccountSettings(exchange="kraken", credentials=credentials)}, **more)


async def test_account_that_needs_no_keys_gets_none():
    found = await open_credentials(_settings("none"), "a").credentials("a", "kraken")
    assert found.api_key is None


async def test_account_setting_chooses_the_environment():
    store = open_credentials(_settings("env"), "a", environ={"A_API_KEY": "k"})
    assert (await store.credentials("a", "kraken")).api_key == SecretStr("k")


def test_vault_account_without_an_address_is_refused():
    with pytest.raises(ConfigurationError, match="VAULT_ADDR"):
        open_credentials(_settings("vault"), "a")


async def test_vault_that_does_not_answer_is_unavailable_and_shows_no_token():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        store = VaultCredentialStore(address, login=VaultLogin(token=SecretStr("hunter2")))
        with pytest.raises(CredentialsUnavailable) as caught:
            await store.credentials("a", "kraken")
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def vault(vault_server: VaultServer) -> str:
    """Return the address of a Vault."""
    return vault_server.address


@pytest.fixture
def admin(vault_server: VaultServer) -> hvac.Client:
    """Return a client that may do everything; nothing is written for the agent yet."""
    vault_server.admin.secrets.kv.v2.delete_metadata_and_all_versions("agents/execution", mount_point="secret")
    return vault_server.admin


async def test_rotated_key_in_vault_is_seen_at_the_next_call(vault, admin):
    store = open_credentials(_settings("vault", vault_addr=vault, vault_token=admin.token), "a")
    with pytest.raises(CredentialsUnavailable, match="secret/api_keys/kraken"):
        await store.credentials("a", "kraken")
    write = admin.secrets.kv.v2.create_or_update_secret
    write(path="api_keys/kraken", secret={"api_key": "one", "secret_key": "s", "passphrase": "p", "note": "ignored"})
    first = await store.credentials("a", "kraken")
    assert (first.api_key, first.passphrase) == (SecretStr("one"), SecretStr("p"))
    write(path="api_keys/kraken", secret={"api_key": "two", "secret_key": "s"})
    assert (await store.credentials("a", "kraken")).api_key == SecretStr("two")


async def test_agent_settings_come_from_vault_as_text(vault, admin):
    store = VaultCredentialStore(vault, login=VaultLogin(token=SecretStr(admin.token)))
    assert await store.execution_settings() == {}
    admin.secrets.kv.v2.create_or_update_secret(path="agents/execution", secret={"max_order_size": "250"})
    assert await store.execution_settings() == {"max_order_size": "250"}


async def test_approle_logs_in_again_when_its_token_was_revoked(vault, admin):
    admin.secrets.kv.v2.create_or_update_secret(path="api_keys/bitstamp", secret={"api_key": "k", "secret_key": "s"})
    admin.sys.create_or_update_policy("keys", 'path "secret/data/api_keys/*" { capabilities = ["read"] }')
    if "approle/" not in admin.sys.list_auth_methods()["data"]:
        admin.sys.enable_auth_method("approle")
    admin.auth.approle.create_or_update_approle("agent", token_policies=["keys"])
    role_id = admin.auth.approle.read_role_id("agent")["data"]["role_id"]
    secret_id = admin.auth.approle.generate_secret_id("agent")["data"]["secret_id"]
    store = VaultCredentialStore(vault, login=VaultLogin(role_id=role_id, secret_id=SecretStr(secret_id)))
    assert (await store.credentials("a", "bitstamp")).api_key == SecretStr("k")
    for accessor in admin.list("auth/token/accessors")["data"]["keys"]:
        if admin.auth.token.lookup_accessor(accessor)["data"]["path"] == "auth/approle/login":
            admin.auth.token.revoke_accessor(accessor)
    assert (await store.credentials("a", "bitstamp")).api_key == SecretStr("k")
    with pytest.raises(CredentialsUnavailable, match="does not let us read"):
        await store.execution_settings()


async def test_wrong_token_is_refused_in_words(vault):
    store = VaultCredentialStore(vault, login=VaultLogin(token=SecretStr("wrong-token")))
    with pytest.raises(CredentialsUnavailable, match="does not let us read"):
        await store.credentials("a", "kraken")
