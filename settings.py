"""Every setting, read once: environment, then `volex.toml`, then Vault's, then defaults. Nobody else reads them.

`load_settings()` returns one frozen `Settings`. Secrets are `SecretStr` and never printed. An unknown key in the file
is an error that names the nearest known one; a float where money belongs is an error that says to write text.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from domain.errors import ConfigurationError
from domain.identifiers import ACCOUNT
from domain.limits import FIRM, Limits
from domain.order import TradingMode
from domain.risk import AccountTerms
from settings_sections import (
    AccountSettings,
    InterfaceSettings,
    NotifySettings,
    PaperSettings,
    RiskAgentSettings,
    RiskSettings,
    StorageSettings,
    VaultSettings,
    Words,
    WorkerSettings,
    is_loopback,
)
from settings_vault import from_vault

CONFIG_FILE: Final = "volex.toml"
_DATABASE_SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")


class Settings(VaultSettings, InterfaceSettings, BaseSettings):
    """All settings. Made by `load_settings`; by itself it holds the defaults and what it is given.

    Environment names are the field names in capitals, those of a section with two underscores between:
    `DRY_RUN_MODE`, `RISK__KILL_SWITCH`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_nested_delimiter="__")

    temporal_address: str = Field(default="127.0.0.1:7233", description="host:port of the Temporal server")
    temporal_namespace: str = Field(default="default", description="Temporal namespace")
    temporal_api_key: SecretStr | None = Field(default=None, description="API key of Temporal Cloud")
    temporal_tls_cert_path: Path | None = Field(default=None, description="client certificate for mTLS, PEM")
    temporal_tls_key_path: Path | None = Field(default=None, description="key of the client certificate, PEM")
    temporal_tls_ca_path: Path | None = Field(default=None, description="certificate of the server's authority, PEM")
    temporal_tls_server_name: str | None = Field(default=None, description="name expected in the server's certificate")
    database_url: SecretStr = Field(
        default=SecretStr("postgresql://volex:volex@127.0.0.1:5432/volex"), description="the ledger's Postgres"
    )
    api_host: str = Field(default="127.0.0.1", description="address that the REST interface listens on")
    api_port: int = Field(default=8002, ge=0, le=65535, description="port of the REST interface")
    api_key: SecretStr | None = Field(default=None, description="one key with every scope for the REST interface")
    api_requests_per_minute: int = Field(
        default=12_000, ge=1, description="requests a minute of one API key, and of each API process; beyond it, 429"
    )
    api_allowed_hosts: Words = Field(default=(), description="further host names that requests may be for")
    dry_run_mode: bool = Field(default=True, description="true forces every account into paper mode")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="least level logged")
    debug: bool = Field(default=False, description="log at level DEBUG")
    strict_keys: bool = Field(default=False, description="true: refuse to start with a key that may withdraw")
    rate_limit_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="requests a minute to each account's venue, a cap below its own"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, description="base address of an OTLP/HTTP receiver of traces; needs the extra `otel`"
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        default=None, description="what goes with each export: name=value,name=value"
    )
    otel_traces_sampler_arg: float = Field(default=1, ge=0, le=1, description="share of the requests that are traced")
    default_exchange: str = Field(default="binanceus", description="account used when a request names none")
    ui_address: str | None = Field(default=None, description="address of the Temporal Web UI, for links")
    archive_url: str | None = Field(
        default=None, description="where histories of closed workflows are kept, for fsspec; the ledger if left out"
    )
    accounts: dict[str, AccountSettings] = Field(
        default={"binanceus": AccountSettings(exchange="binanceus")}, min_length=1, description="accounts by name"
    )
    risk: RiskSettings = Field(default_factory=RiskSettings, description="limits")
    paper: PaperSettings = Field(default_factory=PaperSettings, description="the dry run")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="the worker")
    storage: StorageSettings = Field(default_factory=StorageSettings, description="how long samples are kept")
    notify: NotifySettings = Field(default_factory=NotifySettings, description="how people are told of alerts")

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr) -> SecretStr:
        if urlsplit(url.get_secret_value()).scheme not in _DATABASE_SCHEMES:
            raise ValueError("must begin with postgresql://")
        return url

    @field_validator("archive_url")
    @classmethod
    def _holds_no_password(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).password is not None:
            raise ValueError("holds a password: give it to the storage's own package by its environment")
        return url

    @model_validator(mode="before")
    @classmethod
    def _default_account_exists(cls, values: dict[str, Any]) -> dict[str, Any]:
        accounts = values.get("accounts")
        if isinstance(accounts, dict) and accounts and "default_exchange" not in values:
            first = next(iter(accounts))
            return {**values, "default_exchange": "binanceus" if "binanceus" in accounts else first}
        return values

    @model_validator(mode="after")
    def _names_and_keys_agree(self) -> Self:
        named = {"default_exchange": [self.default_exchange], "worker.accounts": self.worker.accounts}
        named["risk.accounts"] = list(self.risk.accounts)
        for place, names in named.items():
            for name in names:
                if name not in self.accounts:
                    raise ValueError(f"{place}: no account {name!r}; configured are {', '.join(self.accounts)}")
        for name in self._real_accounts():
            if self.accounts[name].credentials == "none":
                raise ValueError(f'accounts.{name}: orders at the venue need credentials = "vault" or "env"')
            if self.accounts[name].credentials == "vault" and not self.vault_addr:
                raise ValueError(f'accounts.{name}: credentials = "vault" needs VAULT_ADDR')
        if self.risk.agent.url is not None and self.risk.agent.secret is None and not self.vault_addr:
            raise ValueError("risk.agent: needs a secret: set RISK__AGENT__SECRET, or risk_agent_secret in Vault")
        return self

    @field_validator("accounts")
    @classmethod
    def _names_are_plain(cls, accounts: dict[str, AccountSettings]) -> dict[str, AccountSettings]:
        for name in accounts:
            if not ACCOUNT.fullmatch(name):
                raise ValueError(f"account name {name!r}: use lower-case letters, digits, - and _, at most 32")
        return accounts

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the arguments alone: `load_settings` has merged the sources, so nothing else is read."""
        return (init_settings,)

    def mode_of(self, account: str) -> TradingMode:
        """Return the mode that counts: `DRY_RUN_MODE` forces paper everywhere."""
        return TradingMode.PAPER if self.dry_run_mode else self.accounts[account].mode

    def terms(self) -> dict[str, AccountTerms]:
        """Return what counts for each account's orders: venue and mode."""
        return {
            name: AccountTerms(account=name, exchange=entry.exchange, mode=self.mode_of(name))
            for name, entry in self.accounts.items()
        }

    @property
    def is_on_loopback(self) -> bool:
        """Tell whether the REST interface is reached from this machine alone."""
        return is_loopback(self.api_host)

    def needs_api_key(self) -> bool:
        """Tell whether the REST interface may not be open: not on loopback, or an account not in paper mode."""
        return not self.is_on_loopback or bool(self._real_accounts())

    def _real_accounts(self) -> list[str]:
        return sorted(name for name in self.accounts if self.mode_of(name) is not TradingMode.PAPER)

    def traces(self) -> dict[str, Any]:
        """Return what `observability.traces.set_up_traces` takes."""
        headers = self.otel_exporter_otlp_headers
        return {
            "endpoint": self.otel_exporter_otlp_endpoint,
            "headers": headers.get_secret_value() if headers is not None else None,
            "share": self.otel_traces_sampler_arg,
        }

    def check_api_key(self) -> None:
        """Refuse an open interface where one is not allowed.

        Raises
        ------
        ConfigurationError
            When no API key is set although the address is not loopback or an account is not in paper mode, or API_KEY
            is a key of the ledger, which would get every scope by it.
        """
        self.check_interface(self.api_key)
        if self.api_key is not None or self.api_keys_required or not self.needs_api_key():
            return
        real = ", ".join(self._real_accounts())
        cause = f"not in paper mode: {real}" if real else f"it would listen on {self.api_host}"
        raise ConfigurationError(
            f"the REST interface needs an API key ({cause})",
            advice="Set API_KEY, or API_KEYS_REQUIRED=true and make keys with `volex keys create`, or "
            f"{'DRY_RUN_MODE=true' if real else 'API_HOST=127.0.0.1'}.",
        )


class _Environment(EnvSettingsSource):
    """The given environment. A section is only set by its parts: a stray `WORKER` or `RISK` is somebody else's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items() if value}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if field_name in ("accounts", *SECTIONS):
            return None, field_name, True
        return super().get_field_value(field, field_name)


def load_settings(environ: Mapping[str, str] | None = None, *, vault: Mapping[str, str] | None = None) -> Settings:
    """Read all settings.

    Parameters
    ----------
    environ
        Stands in for the process's environment.
    vault
        What Vault holds under `agents/execution`, all text; weaker than the file. Read by whoever can log in there.

    Raises
    ------
    ConfigurationError
        When the file cannot be read, holds an unknown key, or a value does not fit. Secrets are not in the message.
    """
    environ = os.environ if environ is None else environ
    values = _configured(environ)
    with _told_in_words():
        return Settings(**_merged(_merged(from_vault(vault or {}, configured=values), values), _from_environ(environ)))


def load_vault_settings(environ: Mapping[str, str] | None = None) -> VaultSettings:
    """Read how Vault is reached, and nothing else: what it holds may be needed before the rest fits together.

    Raises
    ------
    ConfigurationError
        As `load_settings` does.
    """
    environ = os.environ if environ is None else environ
    with _told_in_words():
        values = _merged(_configured(environ), _from_environ(environ))
        return VaultSettings(**{name: values[name] for name in VaultSettings.model_fields if name in values})


def _configured(environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get("VOLEX_CONFIG")
    path = Path(named or CONFIG_FILE)
    return _read_file(path) if named or path.exists() else {}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    with _told_in_words():
        return _Environment(environ)()


@contextmanager
def _told_in_words() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        problems = "; ".join(_problem(problem["loc"], problem["msg"]) for problem in error.errors())
        raise ConfigurationError(f"settings do not fit: {problems}") from None
    except SettingsError as error:
        raise ConfigurationError(f"settings do not fit: {error}") from None


def _problem(place: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{'.'.join(str(part) for part in place)}: {text}" if place else text


def _merged(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(weaker)
    for key, value in stronger.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", advice="Check VOLEX_CONFIG or --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    _check_keys(path, values, Settings, where="")
    return values


def _check_keys(path: Path, values: Mapping[str, Any], model: type[BaseModel], *, where: str) -> None:
    """Refuse keys that no setting has, and name the nearest that one has."""
    known = model.model_fields
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f"Did you mean {where}{near[0]}?" if near else f"Known here: {', '.join(sorted(known))}."
            raise ConfigurationError(f"{path}: unknown key {where}{key}", advice=advice)
        place = f"{where}{key}"
        if place in _NOT_IN_FILE:
            variable = place.upper().replace(".", "__")
            raise ConfigurationError(f"{path}: {place} belongs in the environment or in Vault: {variable}")
        if key == "agent" and isinstance(value, dict):
            _check_keys(path, value, RiskAgentSettings, where=f"{where}{key}.")
        elif key == FIRM and isinstance(value, dict):
            _check_keys(path, value, Limits, where=f"{where}{key}.")
        elif key in LIMITED and isinstance(value, dict):
            section = AccountSettings if model is Settings else Limits
            for name, entry in value.items():
                if isinstance(entry, dict):
                    _check_keys(path, entry, section, where=f"{where}{key}.{name}.")
        elif key in SECTIONS and model is Settings and isinstance(value, dict):
            _check_keys(path, value, SECTIONS[key], where=f"{where}{key}.")


_NOT_IN_FILE: Final = ("risk.agent.secret", "notify.webhook_secret", "notify.slack_url", "notify.smtp_password")
LIMITED: Final = (FIRM, "accounts", "strategies", "symbols", "keys")
"""Sections of `[risk]` with limits of their own."""
SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "risk": RiskSettings,
    "paper": PaperSettings,
    "worker": WorkerSettings,
    "storage": StorageSettings,
    "notify": NotifySettings,
}


__all__ = [
    "CONFIG_FILE",
    "LIMITED",
    "SECTIONS",
    "AccountSettings",
    "NotifySettings",
    "PaperSettings",
    "RiskAgentSettings",
    "RiskSettings",
    "Settings",
    "StorageSettings",
    "VaultSettings",
    "WorkerSettings",
    "load_settings",
    "load_vault_settings",
]
