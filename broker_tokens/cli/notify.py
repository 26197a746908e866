"""`upstox-token notify`: a test through every channel, or the news that a systemd unit failed."""

import argparse
from collections.abc import Mapping

from broker_tokens.app import build_service
from broker_tokens.cli.output import answer, say
from broker_tokens.clock import system_clock
from broker_tokens.credentials import surroundings
from broker_tokens.env_path import locate
from broker_tokens.errors import (
    EXIT_OK,
    EXIT_TEMPORARY,
    ConfigurationError,
    StoreError,
)
from broker_tokens.notices import channels
from broker_tokens.notices.courier import Courier
from broker_tokens.notices.notifier import Notifier
from broker_tokens.notices.words import Kind, Notice, unit_failed
from broker_tokens.secrets import redact
from broker_tokens.settings import Settings, read_settings
from broker_tokens.store import TokenStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line takes."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--test", action="store_true", help="send a test notice")
    what.add_argument(
        "--unit-failed",
        metavar="UNIT",
        help="tell how this systemd unit ended, each kind of failure once a day; made for the"
        " units in deploy/",
    )


def run(options: argparse.Namespace) -> int:
    """Send the notice; returns the exit code."""
    if options.unit_failed is not None:
        return _tell_of_unit(options)
    return _test(options)


def _test(options: argparse.Namespace) -> int:
    environ = surroundings()
    env_path = locate(options.env_file)
    store = TokenStore(env_path)
    settings = build_service(env_path).look().settings
    if not channels.is_any_configured(settings):
        raise ConfigurationError(
            "Nobody to tell: neither UPSTOX_NOTIFY_URLS nor UPSTOX_NOTIFY_COMMAND is set.",
            "Set one of them in .env (the README shows how).",
        )
    notice = Notice(Kind.TEST, "test", "Upstox token: a test", "If you can read this, it works.")
    is_well = True
    for name, finished in channels.send(notice, settings, environ, store.redact):
        answer(f"{name}: {redact(finished.problem) or 'sent'}")
        if finished.problem:
            is_well = False
            say(
                finished.said or "Try that command by itself, as the user that the service runs as."
            )
    return EXIT_OK if is_well else EXIT_TEMPORARY


def _tell_of_unit(options: argparse.Namespace) -> int:
    """Tell what can be told: the very `.env` may be what is wrong."""
    environ = surroundings()
    notice = unit_failed(options.unit_failed, environ)
    if notice is None:
        return EXIT_OK
    store = TokenStore(_env_path(options.env_file))
    notifier = Notifier(store, lambda: _channels(store, environ), Courier(), environ)
    # After each end of a service that is started again and again, only what can be noted is told;
    # the alert of a unit that stays down is limited by systemd itself.
    notifier.tell(notice, system_clock(), only_if_noted="SERVICE_RESULT" in environ)
    return EXIT_OK


def _env_path(env_file: str | None) -> str:
    try:
        return locate(env_file)
    except ConfigurationError:
        return env_file or ".env"


def _channels(store: TokenStore, environ: Mapping[str, str]) -> Settings:
    try:
        values: Mapping[str, str] = store.load().values
    except StoreError:
        values = {}
    return read_settings(values, environ).settings
