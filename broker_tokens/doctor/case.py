"""What is known of one `.env`, gathered once; each check gets it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from broker_tokens import credentials
from broker_tokens.app import build_broker
from broker_tokens.attendance import Attendance
from broker_tokens.brokers import Broker, Greeting
from broker_tokens.doctor.surroundings import Surroundings
from broker_tokens.env_path import locate
from broker_tokens.errors import ConfigurationError, TokenError
from broker_tokens.install.schedulers import Scheduler
from broker_tokens.look import Look, take_look
from broker_tokens.model import State, StoredTokens
from broker_tokens.secrets import Secret
from broker_tokens.settings import Reading, read_settings
from broker_tokens.store import SECRET_KEYS, Snapshot, TokenStore

_NOTHING = Snapshot({}, StoredTokens(), State())
_NOBODY = Attendance(None, "", None)


@dataclass(frozen=True, slots=True)
class Visit:
    """One call without a token: between which instants, and who answered or what was in the way."""

    before: datetime
    after: datetime
    greeting: Greeting | None = None
    trouble: TokenError | None = None

    @property
    def error(self) -> TokenError | None:
        """What stands between this machine and the broker, None if nothing does."""
        return self.greeting.error if self.greeting is not None else self.trouble


@dataclass(frozen=True, slots=True)
class Case:
    """A `.env` and all that was found out about it.

    `env_path` is None if there is no file; `trouble` says why, or why it cannot be read. The
    settings are then those of the environment alone. `around` is the environment with the files of
    systemd's credentials, of which `unusable` names one that cannot be read. `visit` is None if
    nobody was to be asked.
    """

    surroundings: Surroundings
    env_path: str | None
    trouble: TokenError | None
    snapshot: Snapshot
    reading: Reading
    look: Look
    around: Mapping[str, str] = field(repr=False)
    unusable: TokenError | None
    attendance: Attendance
    schedulers: Sequence[Scheduler]
    visit: Visit | None
    held: tuple[Secret, ...]

    @property
    def store(self) -> TokenStore:
        """The store of this `.env`."""
        return TokenStore(self.env_path or "", lock_timeout=self.surroundings.lock_timeout)

    @property
    def is_readable(self) -> bool:
        """Whether a missing value is missing, and not merely out of reach."""
        return self.trouble is None or self.env_path is None


def open_case(surroundings: Surroundings, env_file: str | None) -> Case:
    """Gather what can be; whatever is wrong is for the checks to tell."""
    env_path, trouble = _find(surroundings, env_file)
    snapshot, unreadable = _load(env_path)
    around, unusable = _around(surroundings)
    reading = read_settings(snapshot.values, around, source=env_path or ".env")
    broker = build_broker(reading.settings, surroundings.transport, surroundings.clock)
    attends = surroundings.attendance(env_path) if env_path else _NOBODY
    look = take_look(
        snapshot,
        lambda _: (reading.settings, broker),
        surroundings.clock(),
        is_listening=bool(attends.listens_at),
    )
    is_asked = not surroundings.is_offline and "UPSTOX_API_URL" not in reading.wrong_keys
    return Case(
        surroundings,
        env_path,
        trouble or unreadable,
        snapshot,
        reading,
        look,
        around,
        unusable,
        attends,
        surroundings.schedulers(env_path) if env_path else (),
        _visit(broker, surroundings) if is_asked else None,
        _secrets(snapshot, around),
    )


def _find(surroundings: Surroundings, env_file: str | None) -> tuple[str | None, TokenError | None]:
    try:
        return locate(env_file, surroundings.environ), None
    except ConfigurationError as error:
        return None, error


def _around(surroundings: Surroundings) -> tuple[Mapping[str, str], TokenError | None]:
    try:
        return credentials.surroundings(surroundings.environ), None
    except ConfigurationError as error:
        return surroundings.environ, error


def _load(env_path: str | None) -> tuple[Snapshot, TokenError | None]:
    if env_path is None:
        return _NOTHING, None
    try:
        return TokenStore(env_path).load(), None
    except TokenError as error:
        return _NOTHING, error
    except ModuleNotFoundError as error:
        name = error.name or "python-dotenv"
        cause = f"{env_path} cannot be read: the package {name} is not installed."
        return _NOTHING, ConfigurationError(cause, "Install the packages first.")


def _visit(broker: Broker, surroundings: Surroundings) -> Visit:
    before = surroundings.clock()
    try:
        greeting = broker.greet()
    except TokenError as error:
        return Visit(before, surroundings.clock(), trouble=error)
    except ModuleNotFoundError as error:
        missing = ConfigurationError(f"The package {error.name} is not installed.")
        return Visit(before, surroundings.clock(), trouble=missing)
    return Visit(before, surroundings.clock(), greeting)


def _secrets(snapshot: Snapshot, around: Mapping[str, str]) -> tuple[Secret, ...]:
    """Return every secret that could find its way into a line, so that it is taken out again."""
    texts = [
        part
        for source in (snapshot.values, around)
        for key in SECRET_KEYS
        for part in (source.get(key, ""), *source.get(key, "").split(","))
    ]
    proxies = [v for k, v in around.items() if k.lower().endswith("_proxy")]
    texts += [text.rpartition("@")[0].rpartition("://")[2].partition(":")[2] for text in proxies]
    return tuple(Secret(text.strip()) for text in texts if text.strip())


def real_folder(env_path: str) -> str:
    """Return the folder in which the file itself stands, links followed."""
    return os.path.dirname(os.path.realpath(env_path))
