"""The two ways a notice goes out: apprise, and a command of the user's own."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from broker_tokens import programs
from broker_tokens.notices import commands
from broker_tokens.notices.words import Notice
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings

# A message takes a second or two; a service that takes longer is not going to take it.
LIMIT = timedelta(seconds=20)

_CHILD = str(Path(__file__).with_name("apprise_child.py"))


def is_any_configured(settings: Settings) -> bool:
    """Whether there is anybody to tell."""
    return bool(settings.notify_urls or settings.notify_command)


def send(
    notice: Notice, settings: Settings, environ: Mapping[str, str], hide: commands.Hide
) -> Iterator[tuple[str, commands.Finished]]:
    """Send through each channel that is configured; yield its name and how it went.

    `hide` takes secrets out of what a channel said.
    """
    for place, address in enumerate(settings.notify_urls, start=1):
        scheme = address.reveal().partition("://")[0]
        yield f"{scheme} (address {place})", _by_apprise(notice, address, environ, hide)
    if settings.notify_command:
        yield "UPSTOX_NOTIFY_COMMAND", _by_command(notice, settings.notify_command, environ, hide)


def _by_apprise(
    notice: Notice, address: Secret, environ: Mapping[str, str], hide: commands.Hide
) -> commands.Finished:
    order = {"address": address.reveal(), "title": notice.title, "body": notice.body}
    return commands.run(
        [sys.executable, "-P", _CHILD],  # -P: nothing beside it is taken for a module
        environ=environ,
        extra={},
        limit=LIMIT,
        hide=hide,
        stdin=json.dumps(order).encode(),
    )


def _by_command(
    notice: Notice, line: str, environ: Mapping[str, str], hide: commands.Hide
) -> commands.Finished:
    return commands.run(
        programs.split(line),
        environ=environ,
        extra={
            "UPSTOX_NOTICE_KIND": notice.kind.value,
            "UPSTOX_NOTICE_TITLE": notice.title,
            "UPSTOX_NOTICE_BODY": notice.body,
        },
        limit=LIMIT,
        hide=hide,
        stdin=f"{notice.title}\n\n{notice.body}\n".encode(),
    )
