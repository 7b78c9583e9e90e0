"""Where an account's keys come from: Vault or the environment, behind one port."""

from credentials.choosing import open_credentials, open_vault

__all__ = ["open_credentials", "open_vault"]
