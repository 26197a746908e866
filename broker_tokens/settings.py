"""The settings: read once from environment and `.env`, and reported whole when wrong."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time

from broker_tokens import setting_values as read
from broker_tokens.calendar import SessionHours
from broker_tokens.credentials import CLIENT_ID_KEYS, CLIENT_SECRET_KEYS
from broker_tokens.errors import ConfigurationError
from broker_tokens.model import Way
from broker_tokens.secrets import Secret
from broker_tokens.setting_values import RENEWAL_WAYS

DEFAULT_REDIRECT_URI = "http://localhost:3000/callback"
DEFAULT_API_URL = "https://api.upstox.com"
DEFAULT_REFRESH_TIME = "02:00"
DEFAULT_APPROVAL_TIME = "08:00"
DEFAULT_SESSION = "09:00-15:30"
DEFAULT_EXCHANGE = "NSE"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured. All times are IST."""

    client_id: str
    client_secret: Secret
    redirect_uri: str = DEFAULT_REDIRECT_URI
    api_url: str = DEFAULT_API_URL
    ways: tuple[Way, ...] = RENEWAL_WAYS
    refresh_time: time = time(2, 0)
    approval_time: time = time(8, 0)
    hours: SessionHours = field(default_factory=SessionHours)
    exchange: str = DEFAULT_EXCHANGE
    notifier_secret: Secret | None = None
    notify_urls: tuple[Secret, ...] = ()
    notify_command: str = ""
    on_renew: str = ""

    @property
    def has_credentials(self) -> bool:
        """Whether there is a client ID and a secret to log in or renew with."""
        return bool(self.client_id and self.client_secret.reveal())

    @property
    def credentials_fingerprint(self) -> str:
        """Tells whether the credentials are still those that the broker refused."""
        parts = (self.client_id, self.client_secret.reveal(), self.redirect_uri, self.api_url)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings as they were read: a default stands in for each of the `wrong_keys`."""

    settings: Settings
    wrong_keys: frozenset[str]
    complaint: ConfigurationError | None


def load_settings(
    values: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    source: str = ".env",
    refresh_time: time | None = None,
    need_credentials: bool = False,
) -> Settings:
    """Return the settings: `environ` (see `credentials`) first, then the `.env`'s `values`.

    Raises ConfigurationError naming every wrong key at once. `source` is the file's name in
    messages; `refresh_time` is the command line's --time, which outranks both. A `.env` without
    client ID and secret will do where a token is only read: `need_credentials` says otherwise.
    """
    reading = read_settings(
        values,
        environ,
        source=source,
        refresh_time=refresh_time,
        need_credentials=need_credentials,
    )
    if reading.complaint is not None:
        raise reading.complaint
    return reading.settings


def read_settings(
    values: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    source: str = ".env",
    refresh_time: time | None = None,
    need_credentials: bool = False,
) -> Reading:
    """Read as `load_settings` does, and raise nothing for what is wrong."""
    reader = read.SettingReader(values, environ)
    settings = Settings(
        client_id=reader.first_of(CLIENT_ID_KEYS, read.plain) or "",
        client_secret=Secret(reader.first_of(CLIENT_SECRET_KEYS, read.plain) or ""),
        redirect_uri=reader.get("UPSTOX_REDIRECT_URI", DEFAULT_REDIRECT_URI, read.redirect_uri),
        api_url=reader.get("UPSTOX_API_URL", DEFAULT_API_URL, read.api_url),
        ways=reader.get("UPSTOX_RENEWAL", ",".join(RENEWAL_WAYS), read.ways),
        refresh_time=refresh_time
        or reader.get("UPSTOX_REFRESH_TIME", DEFAULT_REFRESH_TIME, read.parse_time),
        approval_time=reader.get("UPSTOX_APPROVAL_TIME", DEFAULT_APPROVAL_TIME, read.after_cut),
        hours=reader.get("UPSTOX_SESSION", DEFAULT_SESSION, read.session),
        exchange=reader.get("UPSTOX_EXCHANGE", DEFAULT_EXCHANGE, read.exchange),
        notifier_secret=reader.get("UPSTOX_NOTIFIER_SECRET", "", read.notifier_secret),
        notify_urls=reader.get("UPSTOX_NOTIFY_URLS", "", read.notify_urls),
        notify_command=reader.get("UPSTOX_NOTIFY_COMMAND", "", read.command),
        on_renew=reader.get("UPSTOX_ON_RENEW", "", read.command),
    )
    if need_credentials:
        reader.check_credentials(source)
    return Reading(settings, frozenset(reader.wrong_keys), reader.complaint(source))
