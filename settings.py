"""Every setting, read once: environment, then `volex.toml`, then Vault's, then defaults. Nobody else reads them.

`load_settings()` returns one frozen `Settings`. Secrets are `SecretStr` and never printed. An unknown key in the file
is an error that names the nearest known one; a float where money belongs is an error that says to write text.
"""

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
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
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from domain.errors import ConfigurationError
from domain.identifiers import ACCOUNT
from domain.limits import FIRM, Limits, LimitSet, ScopeKind, scope_name
from domain.numbers import WrittenAmount
from domain.order import TradingMode
from domain.risk import AccountTerms

CONFIG_FILE: Final = "volex.toml"
_KEYS_OF_CCXT: Final = frozenset({"apiKey", "secret", "password", "uid", "privateKey", "token", "twofa", "login"})
_DATABASE_SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
"""A list in the file; in the environment, words with commas between."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AccountSettings(_Section):
    """One account at one venue: `[accounts.NAME]`."""

    exchange: str = Field(description="ccxt id of the venue")
    mode: TradingMode = Field(default=TradingMode.PAPER, description="paper, sandbox or live")
    credentials: Literal["vault", "env", "none"] = Field(
        default="none", description="where the keys come from: vault, env (NAME_API_KEY, NAME_SECRET_KEY) or none"
    )
    ccxt: dict[str, Any] = Field(
        default={}, repr=False, description="merged into ccxt's constructor as it stands: urls, options, proxies, …"
    )
    time_fence_s: Annotated[int, Field(ge=1, le=3600)] | Literal["never"] | None = Field(
        default=None,
        description="seconds after signing from which 'not found' proves that an order was never placed; "
        "never: a person decides; the venue's own figure when left out",
    )

    @field_validator("ccxt")
    @classmethod
    def _holds_no_keys(cls, ccxt: dict[str, Any]) -> dict[str, Any]:
        if found := sorted(_KEYS_OF_CCXT & ccxt.keys()):
            raise ValueError(f"{', '.join(found)}: keys belong in Vault or in the environment, not in the file")
        return ccxt


def _money(default: str | None, description: str) -> Any:
    return Field(default=default, validate_default=True, description=description)


class RiskSettings(Limits):
    """Limits: `[risk]` holds for every account, `[risk.accounts.NAME]` says otherwise for one. All that hold must hold.

    Amounts are text or whole numbers, never floats.
    """

    max_order_notional: WrittenAmount | None = _money("100000", "quote units of one order")
    allowed_symbols: Words | None = Field(default=None, description="symbols that may be traded; all if empty")
    denied_symbols: Words | None = Field(default=None, description="symbols that may not be traded")
    shadow: Words | None = Field(default=None, description="names of limits that are recorded and do not hold")
    currency: str = Field(default="USDT", description="asset that sums over symbols are told in: the risk currency")
    equal_assets: Words = Field(default=("USDT", "USD", "USDC"), description="assets worth one another to limits")
    kill_switch: bool = Field(default=False, description="true: no order is admitted and none is sent")
    firm: Limits = Field(default=Limits(), description="limits of all accounts together")
    accounts: dict[str, Limits] = Field(default_factory=dict, description="limits of an account")
    strategies: dict[str, Limits] = Field(default_factory=dict, description="limits of a strategy over all accounts")
    symbols: dict[str, Limits] = Field(default_factory=dict, description="limits of a symbol over all accounts")
    keys: dict[str, Limits] = Field(default_factory=dict, description="limits of an asker, by `requested_by`")

    def limit_set(self) -> LimitSet:
        """Return the limits by scope."""
        kinds = {
            ScopeKind.ACCOUNT: self.accounts,
            ScopeKind.STRATEGY: self.strategies,
            ScopeKind.SYMBOL: self.symbols,
            ScopeKind.KEY: self.keys,
        }
        named = {scope_name(kind, name): limits for kind, table in kinds.items() for name, limits in table.items()}
        return LimitSet(
            accounts=Limits(**{name: getattr(self, name) for name in Limits.model_fields}),
            by_scope={FIRM: self.firm, **named},
            currency=self.currency,
            equal_assets=self.equal_assets,
        )


class PaperSettings(_Section):
    """The dry run: `[paper]`."""

    balances: dict[str, WrittenAmount] = Field(
        default={"USDT": "100000", "USD": "100000", "BTC": "10", "ETH": "100", "SOL": "1000"},
        validate_default=True,
        description="what a paper account opens with, units by asset",
    )
    maker_rate: WrittenAmount = _money("0.001", "share of a resting fill that is taken as commission")
    taker_rate: WrittenAmount = _money("0.001", "share of a taking fill that is taken as commission")
    latency_ms: int = Field(default=5, ge=0, le=60_000, description="milliseconds that the paper venue takes to answer")


class WorkerSettings(_Section):
    """The worker: `[worker]`."""

    max_cached_workflows: int = Field(default=2000, ge=0, description="orders kept in memory between their steps")
    graceful_shutdown_s: int = Field(default=20, ge=1, le=300, description="seconds for running venue calls to finish")
    feed_open_interval_ms: int = Field(default=1000, ge=50, description="pause between looks with orders at the venue")
    feed_idle_interval_ms: int = Field(default=30_000, ge=100, description="interval of the balances")
    reconcile_interval_s: int = Field(default=60, ge=1, description="pause between two reconciliations of an account")
    accounts: Words = Field(default=(), description="accounts that this worker serves; all if empty")
    number: int = Field(default=1, ge=1, description="its number on this host, part of its name in the Web UI")
    metrics_address: str | None = Field(default=None, description="host:port that serves its Prometheus metrics")
    ready_file: Path | None = Field(
        default=None, description='where it writes {"pid": N} once it polls; the embedded stack waits for it'
    )


class Settings(BaseSettings):
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
    api_allowed_hosts: Words = Field(default=(), description="further host names that requests may be for")
    dry_run_mode: bool = Field(default=True, description="true forces every account into paper mode")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="least level logged")
    debug: bool = Field(default=False, description="log at level DEBUG")
    vault_addr: str | None = Field(default=None, description="address of Vault; without it keys come from elsewhere")
    vault_token: SecretStr | None = Field(default=None, description="token for Vault")
    vault_role_id: str | None = Field(default=None, description="AppRole log-in: the role's id")
    vault_secret_id: SecretStr | None = Field(default=None, description="AppRole log-in: the secret id")
    vault_kubernetes_role: str | None = Field(default=None, description="Kubernetes log-in: the role's name")
    vault_kubernetes_token_path: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="Kubernetes log-in: the service account's token",
    )
    vault_namespace: str | None = Field(default=None, description="namespace of Vault Enterprise")
    vault_cacert: Path | None = Field(default=None, description="certificate of Vault's authority, PEM")
    vault_mount: str = Field(default="secret", description="mount of Vault's KV version 2 store")
    default_exchange: str = Field(default="binanceus", description="account used when a request names none")
    ui_address: str | None = Field(default=None, description="address of the Temporal Web UI, for links")
    accounts: dict[str, AccountSettings] = Field(
        default={"binanceus": AccountSettings(exchange="binanceus")}, min_length=1, description="accounts by name"
    )
    risk: RiskSettings = Field(default_factory=RiskSettings, description="limits")
    paper: PaperSettings = Field(default_factory=PaperSettings, description="the dry run")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="the worker")

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

    def needs_api_key(self) -> bool:
        """Tell whether the REST interface may not be open: not on loopback, or an account not in paper mode."""
        return not _is_loopback(self.api_host) or bool(self._real_accounts())

    def _real_accounts(self) -> list[str]:
        return sorted(name for name in self.accounts if self.mode_of(name) is not TradingMode.PAPER)

    def check_api_key(self) -> None:
        """Refuse an open interface where one is not allowed.

        Raises
        ------
        ConfigurationError
            When no API key is set although the address is not loopback or an account is not in paper mode.
        """
        if self.api_key is not None or not self.needs_api_key():
            return
        real = ", ".join(self._real_accounts())
        cause = f"not in paper mode: {real}" if real else f"it would listen on {self.api_host}"
        raise ConfigurationError(
            f"the REST interface needs an API key ({cause})",
            advice=f"Set API_KEY, or {'DRY_RUN_MODE=true' if real else 'API_HOST=127.0.0.1'}.",
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
    named = environ.get("VOLEX_CONFIG")
    path = Path(named or CONFIG_FILE)
    values = _read_file(path) if named or path.exists() else {}
    try:
        return Settings(**_merged(_merged(_from_vault(vault or {}), values), _Environment(environ)()))
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


def _from_vault(texts: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {key: texts[key] for key in ("dry_run_mode", "default_exchange") if key in texts}
    if "max_order_size" in texts:
        values["risk"] = {"max_order_notional": texts["max_order_size"]}
    return values


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
        if key == FIRM and isinstance(value, dict):
            _check_keys(path, value, Limits, where=f"{where}{key}.")
        elif key in LIMITED and isinstance(value, dict):
            section = AccountSettings if model is Settings else Limits
            for name, entry in value.items():
                if isinstance(entry, dict):
                    _check_keys(path, entry, section, where=f"{where}{key}.{name}.")
        elif key in SECTIONS and model is Settings and isinstance(value, dict):
            _check_keys(path, value, SECTIONS[key], where=f"{where}{key}.")


LIMITED: Final = (FIRM, "accounts", "strategies", "symbols", "keys")
"""Sections of `[risk]` with limits of their own."""
SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "risk": RiskSettings,
    "paper": PaperSettings,
    "worker": WorkerSettings,
}


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
