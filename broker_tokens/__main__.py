"""`python -m broker_tokens` is `upstox-token`."""

from broker_tokens.cli.main import entry_point

entry_point()
