"""The settings: found, read once from environment and `.env`, and reported whole when wrong."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from broker_tokens.calendar import SessionHours
from broker_tokens.errors import ConfigurationError
from broker_tokens.expiry import CUT
from broker_tokens.model import Way
from broker_tokens.secrets import Secret

DEFAULT_REDIRECT_URI = "http://localhost:3000/callback"
DEFAULT_API_URL = "https://api.upstox.com"
DEFAULT_REFRESH_TIME = "02:00"
DEFAULT_APPROVAL_TIME = "08:00"
DEFAULT_SESSION = "09:00-15:30"
DEFAULT_WAYS = (Way.REFRESH_GRANT, Way.PHONE_APPROVAL, Way.BROWSER_LOGIN)

# The first name is ours; the others are what users' other tools call the same thing.
CLIENT_ID_KEYS = ("UPSTOX_CLIENT_ID", "UPSTOX_API_KEY")
CLIENT_SECRET_KEYS = ("UPSTOX_CLIENT_SECRET", "UPSTOX_API_SECRET", "UPSTOX_SECRET_KEY")

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")

# Beside the modules: the last place where a `.env` is looked for.
MODULE_FOLDER = Path(__file__).resolve().parent.parent

_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured. All times are IST."""

    client_id: str
    client_secret: Secret
    redirect_uri: str = DEFAULT_REDIRECT_URI
    api_url: str = DEFAULT_API_URL
    ways: tuple[Way, ...] = DEFAULT_WAYS
    refresh_time: time = time(2, 0)
    approval_time: time = time(8, 0)
    hours: SessionHours = field(default_factory=SessionHours)

    @property
    def has_credentials(self) -> bool:
        """Whether there is a client ID and a secret to log in or renew with."""
        return bool(self.client_id and self.client_secret.reveal())

    @property
    def credentials_fingerprint(self) -> str:
        """Tells whether the credentials are still those that the broker refused."""
        parts = (self.client_id, self.client_secret.reveal(), self.redirect_uri, self.api_url)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def find_env_file(
    argument: str | None, environ: Mapping[str, str], folder: Path, module_folder: Path
) -> Path:
    """Return the `.env` to use, or raise ConfigurationError naming every place looked at.

    `argument` (--env-file), else UPSTOX_ENV_FILE, else `.env` in `folder` or its nearest parent,
    else `.env` beside the modules.
    """
    named = argument or environ.get("UPSTOX_ENV_FILE", "").strip()
    if named:
        place = folder / os.path.expanduser(named)  # a ~name that nobody has stays as it is
        places = [place / ".env" if os.path.isdir(place) else place]
    else:
        places = [place / ".env" for place in (folder, *folder.parents, module_folder)]
    for place in places:
        if os.path.isfile(place):  # a folder that may not be searched holds none
            return place
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise ConfigurationError(
        f"No .env file was found; looked at: {looked}.",
        "Name yours with --env-file or UPSTOX_ENV_FILE; or copy .env.example to .env and fill in"
        " the client ID and secret of your Upstox app.",
    )


def locate(env_file: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the `.env` to use, as `find_env_file` finds it from the working folder.

    `environ` defaults to the process's. Raises ConfigurationError naming the places.
    """
    surroundings = os.environ if environ is None else environ
    return str(find_env_file(env_file, surroundings, Path.cwd(), MODULE_FOLDER))


def parse_time(text: str) -> time:
    """Return a clock time written HH:MM; raises ValueError."""
    match = _CLOCK_TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time of the form HH:MM, 00:00 to 23:59")
    return time(int(match[1]), int(match[2]))


def load_settings(
    values: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    source: str = ".env",
    refresh_time: time | None = None,
    need_credentials: bool = False,
) -> Settings:
    """Return the settings: the process environment first, then the `.env`'s `values`.

    Raises ConfigurationError naming every wrong key at once. `source` is the file's name in
    messages; `refresh_time` is the command line's --time, which outranks both. A `.env` without
    client ID and secret will do where a token is only read: `need_credentials` says otherwise.
    """
    reader = _Reader(values, environ)
    settings = Settings(
        client_id=reader.first_of(CLIENT_ID_KEYS, _plain) or "",
        client_secret=Secret(reader.first_of(CLIENT_SECRET_KEYS, _plain) or ""),
        redirect_uri=reader.get("UPSTOX_REDIRECT_URI", DEFAULT_REDIRECT_URI, _redirect_uri),
        api_url=reader.get("UPSTOX_API_URL", DEFAULT_API_URL, _api_url),
        ways=reader.get("UPSTOX_RENEWAL", ",".join(DEFAULT_WAYS), _ways),
        refresh_time=refresh_time
        or reader.get("UPSTOX_REFRESH_TIME", DEFAULT_REFRESH_TIME, parse_time),
        approval_time=reader.get("UPSTOX_APPROVAL_TIME", DEFAULT_APPROVAL_TIME, _after_cut),
        hours=reader.get("UPSTOX_SESSION", DEFAULT_SESSION, _session),
    )
    if need_credentials:
        reader.check_credentials(source)
    reader.raise_if_wrong(source)
    return settings


class _Reader:
    """Looks keys up and collects what is wrong with them."""

    def __init__(self, values: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._values = values
        self._environ = environ
        self._problems: list[str] = []

    def get(self, key: str, default: str, parse: Callable[[str], T]) -> T:
        value = self._look_up(key) or default
        try:
            return parse(value)
        except ValueError as error:
            self._problems.append(f"{key}{self._origin(key)}: {error}")
            return parse(default)

    def first_of(self, keys: tuple[str, ...], parse: Callable[[str], str]) -> str | None:
        for key in sorted(keys, key=self._is_in_file_only):
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
            self._problems.insert(0, f"Client ID/Secret not found: {names} missing in {source}")

    def raise_if_wrong(self, source: str) -> None:
        if self._problems:
            raise ConfigurationError(
                "; ".join(self._problems) + ".",
                f"Correct {'it' if len(self._problems) == 1 else 'them'} in {source}"
                " (the README's table lists every key).",
            )

    def _look_up(self, key: str) -> str:
        return self._environ.get(key, "").strip() or self._values.get(key, "").strip()

    def _origin(self, key: str) -> str:
        is_in_file = self._is_in_file_only(key)
        return "" if is_in_file else " (of the environment, which outranks the file)"

    def _is_in_file_only(self, key: str) -> bool:
        return not self._environ.get(key, "").strip()


def _plain(text: str) -> str:
    if text and not Secret(text).is_well_formed:
        raise ValueError("has a blank or a character outside ASCII; copy it again")
    return text


def _redirect_uri(text: str) -> str:
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError(f"{text!r} is not an address such as {DEFAULT_REDIRECT_URI}")
    return text


def _api_url(text: str) -> str:
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


def _ways(text: str) -> tuple[Way, ...]:
    known = [way.value for way in DEFAULT_WAYS]
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise ValueError(f"{', '.join(wrong) or 'empty'!r} is none of {', '.join(known)}")
    return tuple(dict.fromkeys(Way(name) for name in names))


def _after_cut(text: str) -> time:
    at = parse_time(text)
    if at <= CUT:
        raise ValueError(f"{text} must be later than 03:30, when Upstox ends the day's tokens")
    return at


def _session(text: str) -> SessionHours:
    opens, dash, closes = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not of the form {DEFAULT_SESSION}")
    hours = SessionHours(_after_cut(opens.strip()), parse_time(closes))
    if hours.closes <= hours.opens:
        raise ValueError(f"{text} ends before it begins")
    return hours
