"""`.env.audit.jsonl`: what became of the token, a line an event, kept for the trader's records.

Each process writes what it has done or tried itself, so that any number of them leave one line of
one event. Lines are only ever added, and by nobody removed; no secret is in them. What goes wrong
here disturbs no renewal.
"""

import json
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any

from broker_tokens.clock import IST
from broker_tokens.errors import TokenError
from broker_tokens.file_metadata import open_private
from broker_tokens.model import (
    ApprovalAsked,
    AttemptFailed,
    Event,
    LoggedOut,
    PersonNeeded,
    Stage,
    TokenDied,
    TokenStored,
    Way,
)
from broker_tokens.secrets import redact
from broker_tokens.store import TokenStore

log = logging.getLogger(__name__)

# The sentence of a failure has a cause and an advice; the broker's own words in it may be long.
_LONGEST_REASON = 500

# How far back a failure is looked for before it is written again: some two hundred lines.
_TAIL = 64 * 1024

# A write under way is over in far less than all of these together.
_LOOKS_AT_TORN = 20
_BETWEEN_LOOKS_SECONDS = 0.001


class Kind(StrEnum):
    """The events that are recorded; there are no others."""

    ASKED = "asked"  # the person, on the phone or for a login
    REMINDED = "reminded"
    ALARMED = "alarmed"  # the session is open without a token
    RENEWED = "renewed"  # silently, with the refresh token
    APPROVED = "approved"  # on the phone; the token has come
    LOGGED_IN = "logged_in"
    PASTED = "pasted"
    FOUND = "found"  # somebody else put it into `.env`
    REFUSED = "refused"  # by the broker, or by us: repeating it cannot help
    FAILED = "failed"  # in passing
    DIED = "died"  # the broker refuses the stored token before its time
    LOGGED_OUT = "logged_out"


_STORED_BY = {
    Way.REFRESH_GRANT: Kind.RENEWED,
    Way.PHONE_APPROVAL: Kind.APPROVED,
    Way.BROWSER_LOGIN: Kind.LOGGED_IN,
    Way.PASTE: Kind.PASTED,
    Way.FOUND: Kind.FOUND,
}

_TOLD_AT = {Stage.ASK: Kind.ASKED, Stage.REMIND: Kind.REMINDED, Stage.ALARM: Kind.ALARMED}

_FAILURES = (Kind.REFUSED, Kind.FAILED)


class AuditTrail:
    """Adds to the record of one `.env`; any number of processes and threads may have one each."""

    def __init__(self, env_path: str) -> None:
        """Write beside the `.env` at `env_path`; nothing is made before there is an event."""
        self._store = TokenStore(env_path)
        self._trouble = ""

    @property
    def path(self) -> str:
        """The path of the record."""
        return self._store.path + ".audit.jsonl"

    def __call__(self, event: Event) -> None:
        """Record an event if it is one of ours; made to be handed a service's own events."""
        try:
            fields = _fields_of(event)
            if fields is not None:
                self._record(fields)
        except Exception as error:  # noqa: BLE001 -- the record must never disturb a renewal
            self._say_once(
                f"{self.path} takes no record: {getattr(error, 'strerror', '') or error}"
            )
        else:
            self._trouble = ""

    def _record(self, fields: dict[str, Any]) -> None:
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
        descriptor = open_private(self.path, flags, owned_like=self._store.path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no file")
            if not _is_known_failure(fields, descriptor):
                fields["account"] = fields["account"] or self._account()
                _append(descriptor, json.dumps(fields))
        finally:
            os.close(descriptor)

    def _account(self) -> str | None:
        with suppress(TokenError):
            return self._store.load().tokens.user_id
        return None

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s", trouble)


def _append(descriptor: int, line: str) -> None:
    """Add a line by a single write, which no other process's can fall into.

    A line torn by a crash or a full disk is ended first. It is not flushed to the disk: a renewal
    must not wait for its record.
    """
    content = (f"\n{line}" if _is_torn(descriptor) else line).encode() + b"\n"
    if os.write(descriptor, content) < len(content):
        raise OSError("no space is left for a whole line")


def _is_torn(descriptor: int) -> bool:
    """Whether the last line has no end, and nobody is about to write it.

    Another process's write shows in parts, a page at a time, to who looks at that instant.
    """
    for _ in range(_LOOKS_AT_TORN):
        if _end_of(descriptor, 1) in (b"", b"\n"):
            return False
        time.sleep(_BETWEEN_LOOKS_SECONDS)
    return True


def _is_known_failure(fields: dict[str, Any], descriptor: int) -> bool:
    """Whether this failure has been recorded today, since the last token came.

    A dead network is met every minute, by each process and after each restart anew: the record
    itself tells what it has. Figures in a sentence make it no other.
    """
    if fields["event"] not in _FAILURES:
        return False
    for line in _latest_lines(descriptor):
        if line.get("event") in _STORED_BY.values():
            return False
        if _likeness(line) == _likeness(fields):
            return True
    return False


def _latest_lines(descriptor: int) -> Iterator[dict[str, Any]]:
    """Yield the last lines, the latest first; what is no line of ours is passed over."""
    for line in reversed(_end_of(descriptor, _TAIL).splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


def _end_of(descriptor: int, most: int) -> bytes:
    """Return the last bytes of a file; where it is read matters not for what is appended."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(0, size - most), os.SEEK_SET)
    return os.read(descriptor, most)


def _likeness(fields: dict[str, Any]) -> tuple[str, ...]:
    """Return what two records of one failure have in common: day, event, way and reason."""
    day, reason = str(fields.get("at"))[:10], re.sub(r"\d+", "#", str(fields.get("reason")))
    return day, str(fields.get("event")), str(fields.get("way")), reason


def _fields_of(event: Event) -> dict[str, Any] | None:
    """Return an event as the fields of a line, None if it is not recorded."""
    match event:
        case TokenStored():
            kind, way, account = _STORED_BY[event.way], event.way, event.user_id
            return _line(event, kind, way, event.fingerprint, event.expires_at, account=account)
        case ApprovalAsked():
            until, reason = event.expires_at, _doubt(event)
            return _line(event, Kind.ASKED, Way.PHONE_APPROVAL, None, until, reason)
        case PersonNeeded():
            way = Way.PHONE_APPROVAL if event.asked_at is not None else Way.BROWSER_LOGIN
            return _line(event, _TOLD_AT[event.stage], way)
        case AttemptFailed():
            kind = Kind.REFUSED if event.is_final else Kind.FAILED
            return _line(event, kind, event.way, reason=event.sentence)
        case TokenDied():
            return _line(event, Kind.DIED, None, event.fingerprint)
        case LoggedOut():
            return _line(event, Kind.LOGGED_OUT, None, event.fingerprint)
        case _:
            return None


def _doubt(event: ApprovalAsked) -> str:
    if event.goes_elsewhere:
        return f"Upstox will send the token to {event.goes_elsewhere}, not to this service."
    return "" if event.is_certain else "Upstox's reply got lost."


def _line(
    event: Event,
    kind: Kind,
    way: Way | None,
    fingerprint: str | None = None,
    expires_at: datetime | None = None,
    reason: str = "",
    *,
    account: str | None = None,
) -> dict[str, Any]:
    """Return the fields of a line; every line has all of them, in the same order."""
    return {
        "at": event.at.astimezone(IST).isoformat(timespec="seconds"),
        "event": kind,
        "way": way,
        "account": account,
        "fingerprint": fingerprint,
        "expires_at": expires_at and expires_at.astimezone(IST).isoformat(timespec="seconds"),
        "reason": redact(reason)[:_LONGEST_REASON] or None,
        "program": _program(),
        "pid": os.getpid(),
    }


def _program() -> str:
    """Return the name of the program that this process runs, such as `token_refresh_service.py`."""
    path = sys.argv[0] if getattr(sys, "argv", None) else ""
    if os.path.basename(path) == "__main__.py":  # python -m
        path = os.path.dirname(path)
    return os.path.basename(path) or "python"
