"""The sections of the settings: what `volex.toml` has as tables, each a frozen model. `settings.py` reads them."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypedDict
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from domain.api_keys import MARK
from domain.errors import ConfigurationError
from domain.limits import FIRM, Limits, LimitSet, ScopeKind, read_words, scope_name
from domain.numbers import WrittenAmount
from domain.order import TradingMode
from domain.retention import Days, SeriesTerms

SECRET_MIN_LENGTH: Final = 16
SCOPE: Final = re.compile(r"firm|(key|symbol|strategy|account):[\x20-\x7e]{1,64}")
_KEYS_OF_CCXT: Final = frozenset({"apiKey", "secret", "password", "uid", "privateKey", "token", "twofa", "login"})


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_words)]
"""A list in the file; in the environment, words with commas between."""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VaultSettings(Section):
    """How Vault is reached; part of the settings' top level."""

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
    vault_refresh_s: int = Field(default=30, ge=1, description="seconds between two readings of the exchange keys")
    vault_cache_s: int = Field(
        default=3600,
        ge=1,
        description="seconds for which keys that were read go on serving new orders while Vault does not answer; "
        "cancels and look-ups go on for ever",
    )


class InterfaceSettings(Section):
    """Who may use the REST interface, and over what; part of the settings' top level."""

    api_requests_per_minute_of_address: int = Field(
        default=60_000, ge=1, description="requests a minute of one address, whatever its keys; beyond it, 429"
    )
    api_keys_required: bool = Field(
        default=False, description="true: the REST interface asks for a key of `volex keys` where API_KEY is not shown"
    )
    client_key: SecretStr | None = Field(
        default=None, description="key that the `volex` command shows to the REST interface; API_KEY if left out"
    )
    api_tls_cert_path: Path | None = Field(default=None, description="certificate of the REST interface, PEM")
    api_tls_key_path: Path | None = Field(default=None, description="key of that certificate, PEM")
    api_tls_client_ca_path: Path | None = Field(
        default=None, description="authority, PEM: callers must show a certificate that it signed"
    )
    api_tls_ca_path: Path | None = Field(
        default=None, description="authority, PEM, by which the `volex` command knows the REST interface"
    )
    api_trusted_proxies: Words = Field(
        default=(), description="addresses whose X-Forwarded-For says who calls; nobody's if empty"
    )

    @property
    def api_scheme(self) -> str:
        """`https` where the REST interface has a certificate."""
        return "https" if self.api_tls_cert_path is not None else "http"

    def check_interface(self, api_key: SecretStr | None) -> None:
        """Refuse settings of the REST interface that contradict each other.

        Raises
        ------
        ConfigurationError
            When half of a certificate is named, or `api_key`, which has every scope, is a key of the ledger.
        """
        if (self.api_tls_cert_path is None) != (self.api_tls_key_path is None):
            raise ConfigurationError("api_tls_cert_path and api_tls_key_path: name both, or neither")
        if self.api_tls_client_ca_path is not None and self.api_tls_cert_path is None:
            raise ConfigurationError("api_tls_client_ca_path: callers show certificates over TLS alone; name our own")
        if api_key is not None and api_key.get_secret_value().startswith(MARK):
            raise ConfigurationError(
                "API_KEY is a key of `volex keys`, and would have every scope here",
                advice="Set CLIENT_KEY for the command; API_KEY is another, long and random.",
            )


class AtVenue(TypedDict):
    """How an account is opened at its venue, beside its name, its mode and its keys."""

    exchange: str
    ccxt_config: dict[str, Any]
    time_fence_s: int | Literal["never"] | None
    allow_generic: bool
    holds_stops: bool


class AccountSettings(Section):
    """One account at one venue: `[accounts.NAME]`."""

    exchange: str = Field(description="ccxt id of the venue")
    mode: TradingMode = Field(default=TradingMode.PAPER, description="paper, sandbox or live")
    credentials: Literal["vault", "env", "none"] = Field(
        default="none", description="where the keys come from: vault, env (NAME_API_KEY, NAME_SECRET_KEY) or none"
    )
    vault_key: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="name under `api_keys/` in Vault; the venue's own (`exchange`) when left out",
    )
    ccxt: dict[str, Any] = Field(
        default={}, repr=False, description="merged into ccxt's constructor as it stands: urls, options, proxies, …"
    )
    allow_generic: bool = Field(
        default=False,
        description="true: orders may go to a venue that is not in docs/venues.md; market and limit only, and every "
        "order whose outcome is not known waits for a person",
    )
    time_fence_s: Annotated[int, Field(ge=1, le=3600)] | Literal["never"] | None = Field(
        default=None,
        description="seconds after signing from which 'not found' proves that an order was never placed; "
        "never: a person decides; the venue's own figure when left out",
    )

    stops: Literal["native", "held"] = Field(
        default="native",
        description="native: stops are the venue's where it has them, else held by us; held: we hold them all",
    )

    @field_validator("ccxt")
    @classmethod
    def _holds_no_keys(cls, ccxt: dict[str, Any]) -> dict[str, Any]:
        if found := sorted(_KEYS_OF_CCXT & ccxt.keys()):
            raise ValueError(f"{', '.join(found)}: keys belong in Vault or in the environment, not in the file")
        return ccxt

    def at_venue(self) -> AtVenue:
        """Return what `exchanges.opening.open_exchange` takes of it, whoever opens the account."""
        return AtVenue(
            exchange=self.exchange,
            ccxt_config=self.ccxt,
            time_fence_s=self.time_fence_s,
            allow_generic=self.allow_generic,
            holds_stops=self.stops == "held",
        )


def _money(default: str | None, description: str) -> Any:
    return Field(default=default, validate_default=True, description=description)


class RiskAgentSettings(Section):
    """The external risk agent: `[risk.agent]`. Without a url there is none."""

    url: str | None = Field(default=None, description="where the risk agent is asked: http:// or https://")
    secret: SecretStr | None = Field(
        default=None, description="what questions and answers are signed with; in the environment or in Vault"
    )
    timeout_ms: int = Field(default=1000, ge=10, le=8000, description="milliseconds that its answer may take")
    scopes: Words = Field(default=(), description="scopes whose orders it is asked about; all orders if empty")
    shadow: bool = Field(default=False, description="true: its answers are recorded, and do not count")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.secret is not None and len(self.secret.get_secret_value()) < SECRET_MIN_LENGTH:
            raise ValueError(f"needs a secret of {SECRET_MIN_LENGTH} characters or more: set RISK__AGENT__SECRET")
        if self.url is None:
            return self
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ValueError("url must begin with http:// or https://")
        for scope in self.scopes:
            if not SCOPE.fullmatch(scope):
                raise ValueError(f"scopes: {scope!r} is none: use firm, account:NAME, symbol:…, strategy:… or key:…")
        return self


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
    agent: RiskAgentSettings = Field(default=RiskAgentSettings(), description="the external risk agent")
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


class PaperSettings(Section):
    """The dry run: `[paper]`."""

    balances: dict[str, WrittenAmount] = Field(
        default={"USDT": "100000", "USD": "100000", "BTC": "10", "ETH": "100", "SOL": "1000"},
        validate_default=True,
        description="what a paper account opens with, units by asset",
    )
    maker_rate: WrittenAmount = _money("0.001", "share of a resting fill that is taken as commission")
    taker_rate: WrittenAmount = _money("0.001", "share of a taking fill that is taken as commission")
    latency_ms: int = Field(default=5, ge=0, le=60_000, description="milliseconds that the paper venue takes to answer")


class NotifySettings(Section):
    """How people are told of alerts: `[notify]`. Without a receiver nothing is sent."""

    webhook_url: SecretStr | None = Field(
        default=None, description="where alerts are posted to, in the shape of Alertmanager's webhook"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="what webhook messages are signed with; in the environment or in Vault"
    )
    slack_url: SecretStr | None = Field(
        default=None, description="a Slack-compatible webhook; in the environment or in Vault"
    )
    smtp_host: str | None = Field(default=None, description="mail server that alerts are handed in to")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls, tls from the first byte, or none"
    )
    smtp_user: str | None = Field(default=None, description="name to log in to the mail server with")
    smtp_password: SecretStr | None = Field(
        default=None, description="password for the mail server; in the environment or in Vault"
    )
    mail_from: str | None = Field(default=None, description="sender of the mails")
    mail_to: Words = Field(default=(), description="receivers of the mails")
    mute: Words = Field(default=(), description="codes of alerts that nobody is told about")
    runbook_url: str = Field(default="docs/runbook.md", description="where the runbook is, for links")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name in ("webhook_url", "slack_url"):
            url: SecretStr | None = getattr(self, name)
            parts = urlsplit(url.get_secret_value()) if url is not None else None
            if parts is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
                raise ValueError(f"{name} must begin with http:// or https://")
        if self.webhook_secret is not None and len(self.webhook_secret.get_secret_value()) < SECRET_MIN_LENGTH:
            raise ValueError(f"webhook_secret needs {SECRET_MIN_LENGTH} characters or more")
        if self.smtp_host is not None and not (self.mail_from and self.mail_to):
            raise ValueError("smtp_host needs mail_from and mail_to")
        if self.smtp_security == "none" and self.smtp_password is not None and not is_loopback(self.smtp_host or ""):
            raise ValueError("smtp_security none would send the password in the clear: use starttls or tls")
        return self


class WorkerSettings(Section):
    """The worker: `[worker]`."""

    max_cached_workflows: int = Field(default=2000, ge=0, description="orders kept in memory between their steps")
    graceful_shutdown_s: int = Field(default=20, ge=1, le=300, description="seconds for running venue calls to finish")
    feed_open_interval_ms: int = Field(default=1000, ge=50, description="pause between looks with orders at the venue")
    feed_idle_interval_ms: int = Field(default=30_000, ge=100, description="interval of the balances")
    reconcile_interval_s: int = Field(default=60, ge=1, description="pause between two reconciliations of an account")
    accounts: Words = Field(default=(), description="accounts that this worker serves; all if empty")
    number: int = Field(default=1, ge=1, description="its number on this host, part of its name in the Web UI")
    build_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.+-]{1,64}$",
        description="name of this build; with one, its workers get orders once it is promoted (docs/upgrade.md)",
    )
    metrics_address: str | None = Field(
        default=None,
        description="host:port that serves its Prometheus metrics, Temporal's among them; worker N at port + N - 1",
    )
    ready_file: Path | None = Field(
        default=None, description='where it writes {"pid": N} once it polls; the embedded stack waits for it'
    )


class StorageSettings(Section):
    """How long samples are kept: `[storage]`. What is left out is kept for ever, and so are orders and their facts."""

    chunk_days: Days = Field(default=7, description="days in a chunk of a hypertable, where TimescaleDB is")
    marks_days: Days | None = Field(default=90, description="days that prices of the market are kept")
    equity_days: Days | None = Field(
        default=None, description="days that the accounts' equity is kept; for ever if empty"
    )
    performance_days: Days | None = Field(
        default=None, description="days that execution quality is kept; for ever if empty"
    )
    compress_after_days: Days | None = Field(
        default=None, description="days after which chunks are compressed, in the editions of TimescaleDB that can"
    )

    def terms(self) -> SeriesTerms:
        """Return them as the ledger takes them."""
        return SeriesTerms(**self.model_dump())
