"""Where an account's keys come from: Vault or the environment, behind one port."""

from credentials.choosing import open_credentials, open_key_ring, open_vault
from credentials.loading import load_all_settings, load_seen_settings

__all__ = ["load_all_settings", "load_seen_settings", "open_credentials", "open_key_ring", "open_vault"]
