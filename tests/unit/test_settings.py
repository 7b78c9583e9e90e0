"""Settings: which source wins, what is refused, and that secrets stay unseen."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from cli.settings_reference import settings_reference
from domain.errors import ConfigurationError
from domain.order import TradingMode
from settings import Settings, load_settings

LIVE = """
[accounts.main]
exchange = "kraken"
mode = "live"
credentials = "env"
"""


@pytest.fixture
def with_file(tmp_path: Path):
    """Return a function that loads settings from a file with the given text."""

    def load(text: str, **environ: str) -> Settings:
        path = tmp_path / "volex.toml"
        path.write_text(text)
        return load_settings({"VOLEX_CONFIG": str(path), **environ})

    return load


def test_nothing_set_gives_one_paper_account_on_loopback():
    settings = load_settings({})
    assert {name: terms.mode for name, terms in settings.terms().items()} == {"binanceus": TradingMode.PAPER}
    assert not settings.needs_api_key()
    assert settings.risk.max_order_notional == Decimal(100_000)


def test_environment_wins_over_file_and_file_over_vault(tmp_path, with_file):
    text = 'log_level = "WARNING"\ndefault_exchange = "kraken"\n[accounts.kraken]\nexchange = "kraken"\n'
    assert with_file(text).log_level == "WARNING"
    assert with_file(text, LOG_LEVEL="error").log_level == "ERROR"
    path = tmp_path / "volex.toml"
    vault = {"default_exchange": "coinbase", "max_order_size": "250.5", "rate_limit_per_minute": "60"}
    settings = load_settings({"VOLEX_CONFIG": str(path)}, vault=vault)
    assert (settings.default_exchange, settings.risk.max_order_notional) == ("kraken", Decimal("250.5"))


def test_environment_sets_one_part_of_a_section_and_leaves_the_rest(with_file):
    settings = with_file('[risk]\nmax_order_quantity = "2"\n', RISK__KILL_SWITCH="true", WORKER="stray", RISK="stray")
    assert settings.risk.kill_switch is True
    assert settings.risk.max_order_quantity == 2


def test_empty_environment_values_count_as_unset():
    assert load_settings({"API_KEY": "", "DRY_RUN_MODE": ""}).api_key is None


def test_words_with_commas_make_a_list():
    assert load_settings({"RISK__ALLOWED_SYMBOLS": "BTC/USDT, ETH/USDT"}).risk.allowed_symbols == (
        "BTC/USDT",
        "ETH/USDT",
    )


@pytest.mark.parametrize(
    ("text", "named", "near"),
    [
        ("dry_run = true", "dry_run", "dry_run_mode"),
        ("[risk]\nmax_notional = 5", "risk.max_notional", "risk.max_order_notional"),
        ('[accounts.a]\nexchange = "kraken"\nmodus = "paper"', "accounts.a.modus", "accounts.a.mode"),
        ("[risk.accounts.a]\nallowed_symbol = []", "risk.accounts.a.allowed_symbol", "allowed_symbols"),
    ],
)
def test_unknown_key_is_refused_and_names_the_nearest(with_file, text, named, near):
    with pytest.raises(ConfigurationError) as caught:
        with_file(text)
    assert named in caught.value.message
    assert near in caught.value.what_to_do


def test_float_for_money_is_refused_and_says_to_write_text(with_file):
    with pytest.raises(ConfigurationError, match=r'risk\.max_order_notional.*float.*"100\.5"'):
        with_file("[risk]\nmax_order_notional = 100.5")
    assert with_file("[risk]\nmax_order_notional = 100").risk.max_order_notional == 100


@pytest.mark.parametrize("text", ["[risk", '[accounts.UPPER]\nexchange = "kraken"', "[accounts]", "api_port = 70000"])
def test_bad_file_is_one_clear_error(with_file, text):
    with pytest.raises(ConfigurationError):
        with_file(text)


def test_named_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        load_settings({"VOLEX_CONFIG": str(tmp_path / "absent.toml")})


def test_dry_run_forces_paper_on_a_live_account(with_file):
    assert with_file(LIVE).mode_of("main") is TradingMode.PAPER
    assert with_file(LIVE).default_exchange == "main"
    assert with_file(LIVE, DRY_RUN_MODE="false", API_KEY="k").mode_of("main") is TradingMode.LIVE


def test_live_account_without_credentials_is_refused(with_file):
    with pytest.raises(ConfigurationError, match=r"accounts\.main.*credentials"):
        with_file(LIVE.replace('"env"', '"none"'), DRY_RUN_MODE="false")


@pytest.mark.parametrize(
    ("environ", "needed"),
    [
        ({}, False),
        ({"API_HOST": "localhost"}, False),
        ({"API_HOST": "::1"}, False),
        ({"API_HOST": "0.0.0.0"}, True),
        ({"DRY_RUN_MODE": "false"}, True),
    ],
)
def test_api_key_is_needed_off_loopback_or_off_paper(with_file, environ, needed):
    settings = with_file(LIVE, **environ)
    assert settings.needs_api_key() is needed
    if needed:
        with pytest.raises(ConfigurationError, match="API key"):
            settings.check_api_key()
        with_file(LIVE, API_KEY="k", **environ).check_api_key()
    else:
        settings.check_api_key()


def test_limits_of_an_account_override_the_general_ones_one_by_one(with_file):
    text = '[risk]\nmax_order_quantity = "7"\n[risk.accounts.binanceus]\nmax_order_notional = 0\n'
    limits = with_file(text).risk.limit_set().of_account("binanceus")
    assert (limits.max_order_notional, limits.max_order_quantity) == (0, 7)


@pytest.mark.parametrize("text", ['default_exchange = "x"', '[worker]\naccounts = ["x"]', "[risk.accounts.x]"])
def test_name_of_an_account_that_is_not_configured_is_refused(with_file, text):
    with pytest.raises(ConfigurationError, match="no account 'x'"):
        with_file(text)


def test_keys_in_the_ccxt_table_are_refused_without_being_shown(with_file):
    with pytest.raises(ConfigurationError, match="apiKey") as caught:
        with_file('[accounts.a]\nexchange = "kraken"\n[accounts.a.ccxt]\napiKey = "hunter2"\n')
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_in_the_repr():
    environ = {"API_KEY": "hunter2", "VAULT_TOKEN": "hunter2", "DATABASE_URL": "postgresql://u:hunter2@h/d"}
    settings = load_settings(environ)
    assert "hunter2" not in repr(settings)
    assert settings.database_url.get_secret_value().endswith("hunter2@h/d")


def test_database_that_is_not_postgres_is_refused_without_showing_it():
    with pytest.raises(ConfigurationError, match="database_url") as caught:
        load_settings({"DATABASE_URL": "mysql://u:hunter2@h/d"})
    assert "hunter2" not in str(caught.value)


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_settings({}).api_port = 1


def test_reference_tells_the_meaning_of_every_setting():
    rows = {row.name: row for row in settings_reference()}
    assert all(row.meaning for row in rows.values())
    assert rows["risk.kill_switch"].env == "RISK__KILL_SWITCH"
    assert rows["api_port"].default == "8002"


def test_receivers_of_alerts_are_read_and_their_secrets_unseen(with_file):
    text = '[notify]\nwebhook_url = "https://hooks.example/x"\nmail_to = ["a@desk.example"]\n'
    settings = with_file(text, NOTIFY__SLACK_URL="https://slack.example/hunter2", NOTIFY__MUTE="ORDER_HELD, TEST")
    assert settings.notify.slack_url is not None and settings.notify.mute == ("ORDER_HELD", "TEST")
    assert "hunter2" not in repr(settings) and "hooks.example" not in repr(settings)
    vault = {"notify_smtp_password": "hunter2", "notify_webhook_secret": "a secret of the two of us"}
    secret = load_settings({}, vault=vault).notify.smtp_password
    assert secret is not None and secret.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('slack_url = "https://slack.example/hunter2"', "NOTIFY__SLACK_URL"),
        ('webhook_secret = "hunter2"', "NOTIFY__WEBHOOK_SECRET"),
        ('smtp_password = "hunter2"', "NOTIFY__SMTP_PASSWORD"),
        ('webhook_url = "hunter2"', "must begin with http"),
        ('smtp_host = "mail.example"', "needs mail_from and mail_to"),
        ('webhook_uri = "x"', "notify.webhook_uri"),
    ],
)
def test_receivers_that_do_not_fit_are_refused_without_being_shown(with_file, text, named):
    with pytest.raises(ConfigurationError, match=named) as caught:
        with_file(f"[notify]\n{text}\n")
    assert "hunter2" not in f"{caught.value}{caught.value.what_to_do}"


def test_a_password_is_not_sent_in_the_clear():
    mail = {"NOTIFY__SMTP_HOST": "mail.example", "NOTIFY__MAIL_FROM": "v@d.example", "NOTIFY__MAIL_TO": "a@d.example"}
    environ = {**mail, "NOTIFY__SMTP_SECURITY": "none", "NOTIFY__SMTP_PASSWORD": "hunter2"}
    with pytest.raises(ConfigurationError, match="in the clear"):
        load_settings(environ)
