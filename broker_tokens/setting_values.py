"""How each setting is read: looked up, parsed, and what is wrong with it collected."""

import re
import shlex
from collections.abc import Callable, Mapping
from datetime import time
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from broker_tokens.calendar import SessionHours
from broker_tokens.credentials import CLIENT_ID_KEYS, CLIENT_SECRET_KEYS, place_of
from broker_tokens.errors import ConfigurationError
from broker_tokens.expiry import CUT
from broker_tokens.model import Way
from broker_tokens.secrets import Secret

RENEWAL_WAYS = (Way.REFRESH_GRANT, Way.PHONE_APPROVAL, Way.BROWSER_LOGIN)

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")

_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

# Known ones are NSE, BSE, NFO, BFO, CDS, BCD, MCX and NSCOM.
_EXCHANGE = re.compile(r"[A-Z]{2,8}")

# The last part of the webhook's path keeps strangers out; ours has 43 characters.
_NOTIFIER_SECRET = re.compile(r"[A-Za-z0-9_-]{22,128}")

# An apprise address may hold commas of its own; the next address begins with its scheme.
_BETWEEN_ADDRESSES = re.compile(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+", re.DOTALL)

# Longer values than the right ones are some other line's, perhaps that of a secret.
_LONGEST_SLIP = 20

# The places of a value; the first outranks the others.
_IN_ENVIRONMENT, _IN_CREDENTIAL, _IN_FILE = range(3)

T = TypeVar("T")


class SettingReader:
    """Looks keys up and collects what is wrong with them."""

    def __init__(self, values: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._values = values
        self._environ = environ
        self._problems: list[str] = []
        self.wrong_keys: set[str] = set()
        self._wrong_in: set[int] = set()

    def get(self, key: str, default: str, parse: Callable[[str], T]) -> T:
        value = self._look_up(key) or default
        try:
            return parse(value)
        except ValueError as error:
            self._problems.append(f"{key}{self._origin(key)}: {error}")
            self.wrong_keys.add(key)
            self._wrong_in.add(self._rank(key))
            return parse(default)

    def first_of(self, keys: tuple[str, ...], parse: Callable[[str], str]) -> str | None:
        for key in sorted(keys, key=self._rank):
            if self._look_up(key):
                return self.get(key, "", parse)
        return None

    def check_credentials(self, source: str) -> None:
        missing = [
            keys[0]
            for keys in (CLIENT_ID_KEYS, CLIENT_SECRET_KEYS)
            if not any(self._look_up(key) for key in keys)
        ]
        if missing:
            names = " and ".join(missing)
            self._wrong_in.add(_IN_FILE)
            self._problems.insert(0, f"Client ID/Secret not found: {names} missing in {source}")

    def complaint(self, source: str) -> ConfigurationError | None:
        """Return the error that names all that is wrong, None if nothing is."""
        if not self._problems:
            return None
        there = "there" if self._wrong_in - {_IN_FILE} else ""
        here = f"in {source}" if _IN_FILE in self._wrong_in else ""
        where = " and ".join(filter(None, [there, here]))
        return ConfigurationError(
            "; ".join(self._problems) + ".",
            f"Correct {'it' if len(self._problems) == 1 else 'them'} {where}"
            " (the README's table lists every key).",
        )

    def _look_up(self, key: str) -> str:
        return self._environ.get(key, "").strip() or self._values.get(key, "").strip()

    def _origin(self, key: str) -> str:
        if self._rank(key) == _IN_FILE:
            return ""
        place = place_of(self._environ, key)
        return f" (of {place or 'the environment'}, which outranks the file)"

    def _rank(self, key: str) -> int:
        """Return which place a value is from: the least outranks the others."""
        if not self._environ.get(key, "").strip():
            return _IN_FILE
        return _IN_CREDENTIAL if place_of(self._environ, key) else _IN_ENVIRONMENT


def _shown(text: str) -> str:
    """Return a wrong value for a message: a slip is repeated, what may be a secret is not."""
    return repr(text) if len(text) <= _LONGEST_SLIP else f"a value of {len(text)} characters"


def parse_time(text: str) -> time:
    """Return a clock time written HH:MM; raises ValueError."""
    match = _CLOCK_TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{_shown(text)} is not a time of the form HH:MM, 00:00 to 23:59")
    return time(int(match[1]), int(match[2]))


def plain(text: str) -> str:
    """Return a key or secret as it is."""
    if text and not Secret(text).is_well_formed:
        raise ValueError("has a blank or a character outside ASCII; copy it again")
    return text


def redirect_uri(text: str) -> str:
    """Return the redirect address, which is any http or https one.

    The message does not repeat it: the secret's line is beside it, and people mix them up.
    """
    wrong = ValueError("is not an address such as http://localhost:3000/callback")
    try:
        parts = _split(text)
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise wrong
    return text


def api_url(text: str) -> str:
    """Return the address; the client secret goes there, so nothing ambiguous is let through.

    The message does not repeat it: it may hold a password.
    """
    wrong = ValueError("must be an https address (plain http only to localhost)")
    if not Secret(text).is_well_formed or any(sign in text for sign in "@?#\\"):
        raise wrong
    try:
        parts = _split(text)
    except ValueError:
        raise wrong from None
    is_safe = parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    )
    if not parts.hostname or not is_safe:
        raise wrong
    return text.rstrip("/")


def _split(text: str) -> SplitResult:
    parts = urlsplit(text)
    _ = parts.port  # raises ValueError for a port that is none
    return parts


def ways(text: str) -> tuple[Way, ...]:
    """Return the ways of renewal, in order and each once."""
    known = [way.value for way in RENEWAL_WAYS]
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise ValueError(f"{_shown(', '.join(wrong) or 'empty')} is none of {', '.join(known)}")
    return tuple(dict.fromkeys(Way(name) for name in names))


def after_cut(text: str) -> time:
    """Return a clock time after 03:30."""
    at = parse_time(text)
    if at <= CUT:
        raise ValueError(f"{text} must be later than 03:30, when Upstox ends the day's tokens")
    return at


def session(text: str) -> SessionHours:
    """Return the hours of a session written 09:00-15:30."""
    opens, dash, closes = text.partition("-")
    if not dash:
        raise ValueError(f"{_shown(text)} is not of the form 09:00-15:30")
    hours = SessionHours(after_cut(opens.strip()), parse_time(closes))
    if hours.closes <= hours.opens:
        raise ValueError(f"{text} ends before it begins")
    return hours


def exchange(text: str) -> str:
    """Return the name of an exchange, whose holidays count."""
    name = text.strip().upper()
    if not _EXCHANGE.fullmatch(name):
        raise ValueError(f"{_shown(text)} is no exchange such as NSE or MCX")
    return name


def notifier_secret(text: str) -> Secret | None:
    """Return the last part of the notifier's path, None if there is none yet."""
    if text and not _NOTIFIER_SECRET.fullmatch(text):
        raise ValueError(
            "is too short or holds other characters than letters, digits, - and _;"
            " empty it, and `upstox-token notifier` makes a new one"
        )
    return Secret(text) if text else None


def notify_urls(text: str) -> tuple[Secret, ...]:
    """Return the apprise addresses; a message never repeats one, as it may hold a password."""
    addresses = [each.strip() for each in _BETWEEN_ADDRESSES.split(text) if each.strip()]
    for place, address in enumerate(addresses, start=1):
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"address {place} is not of the form scheme://...")
    return tuple(Secret(address) for address in addresses)


def command(text: str) -> str:
    """Return a command line; that its quotes are closed is all that can be known of it here."""
    if "\0" in text:
        raise ValueError("is no command line: it holds a NUL")
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(f"is no command line: {error}") from None
    return text
