"""A commented example of both secrets, as a shell script of `vault kv put` lines. It holds no secret of anybody."""

from typing import Final

from credentials.vault_store import KEYS_PATH, SETTINGS_PATH

EXAMPLE: Final = """#!/bin/sh
# What volex reads from Vault (KV version 2, mount {mount}). Fill in, run once, then delete this file:
#   VAULT_ADDR=… VAULT_TOKEN=… sh {name}
# Values that begin with @ are read by vault from a file, and `-` from standard input: so keys need not stand here.
set -eu

# The keys of one venue: {keys}/EXCHANGE, EXCHANGE as in the account's `exchange` (or its `vault_key`).
# Give the key the permissions to read and to trade, never to withdraw; tie it to this machine's address.
# Run the same line with another key to rotate it: it is taken over without a restart, working orders go on.
vault kv put {mount}/{keys}/binanceus \\
    api_key=FILL_IN \\
    secret_key=FILL_IN

# Some venues need more: passphrase (okx, kucoin, bitget), uid.
# vault kv put {mount}/{keys}/okx api_key=FILL_IN secret_key=FILL_IN passphrase=FILL_IN

# Settings of the execution agent, all of them text. volex.toml and the environment are stronger than these.
#   enabled_exchanges      venues, each an account of that name in paper mode; ["a", "b"] or ['a', 'b']
#   dry_run_mode           true: every account is in paper mode, whatever the file says
#   default_exchange       used where a request names none
#   max_order_size         quote units of one order
#   rate_limit_per_minute  requests a minute to each account's venue, a cap below the venue's own
#   risk_agent_secret      (optional) what questions to the external risk agent are signed with, 16 characters or more
#   notify_webhook_secret, notify_slack_url, notify_smtp_password  (optional) secrets of the section [notify]
vault kv put {mount}/{settings} \\
    enabled_exchanges='["binanceus", "coinbase"]' \\
    dry_run_mode=true \\
    default_exchange=binanceus \\
    max_order_size=1000 \\
    rate_limit_per_minute=60

# The policy that volex's own token or role needs, and nothing more:
#   path "{mount}/data/{keys}/*"     {{ capabilities = ["read"] }}
#   path "{mount}/data/{settings}" {{ capabilities = ["read"] }}
# The `default` policy lets it look at and renew its own token; keep that.
"""


def example(*, mount: str, name: str) -> str:
    """Return the script for the store mounted at `mount`; `name` is the file's own."""
    return EXAMPLE.format(mount=mount, name=name, keys=KEYS_PATH, settings=SETTINGS_PATH)
