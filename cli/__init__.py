"""The `volex` command."""
