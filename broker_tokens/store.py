"""The `.env` and the state beside it, as one store: read without a lock, written under one."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker_tokens.clock import IST
from broker_tokens.credentials import CLIENT_SECRET_KEYS
from broker_tokens.durable_file import Replacement, has_leftovers, read_bytes, read_whole, recover
from broker_tokens.env_text import EnvText
from broker_tokens.errors import StoreError
from broker_tokens.expiry import expiry_claim
from broker_tokens.file_lock import DEFAULT_TIMEOUT, FileLock
from broker_tokens.model import State, StoredTokens
from broker_tokens.secrets import Secret, redact
from broker_tokens.state_file import load_state, save_state

ACCESS_TOKEN = "access_token"  # noqa: S105 -- the key's name
REFRESH_TOKEN = "UPSTOX_REFRESH_TOKEN"  # noqa: S105 -- the key's name
EXPIRES_AT = "UPSTOX_TOKEN_EXPIRES_AT"
USER_ID = "UPSTOX_USER_ID"
EXTENDED_TOKEN = "UPSTOX_EXTENDED_TOKEN"  # noqa: S105 -- the key's name
NOTIFIER_SECRET = "UPSTOX_NOTIFIER_SECRET"  # noqa: S105 -- the key's name

# Every key whose value is nobody else's business.
SECRET_KEYS = frozenset(
    {
        *(ACCESS_TOKEN, REFRESH_TOKEN, EXTENDED_TOKEN),
        *(NOTIFIER_SECRET, "UPSTOX_NOTIFY_URLS", *CLIENT_SECRET_KEYS),
    }
)


# Time of change (ns), inode and size.
Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the store."""

    values: Mapping[str, str]
    tokens: StoredTokens
    state: State
    broken_lines: tuple[int, ...] = ()
    path: str = ".env"


class TokenStore:
    """The files of one `.env`. A symbolic link is followed: all who use the file share its lock."""

    def __init__(
        self,
        path: str,
        *,
        lock_timeout: timedelta = DEFAULT_TIMEOUT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use the `.env` at `path`; `pause` sleeps, in seconds, while another holds the lock."""
        self._given_path = path
        self._lock_timeout = lock_timeout
        self._pause = pause
        self._parsed: EnvText | None = None

    @property
    def given_path(self) -> str:
        """The path as it was given, possibly a symbolic link."""
        return self._given_path

    @property
    def path(self) -> str:
        """The real path of the `.env`."""
        return os.path.realpath(self._given_path)

    @property
    def state_path(self) -> str:
        """The path of the saved state."""
        return _state_path(self.path)

    def load(self) -> Snapshot:
        """Read the files afresh; raises StoreError."""
        path = self.path
        text = self.parse(read_whole(path))
        values = text.values
        state = load_state(_state_path(path))
        tokens = read_tokens(values, state)
        return Snapshot(values, tokens, state, text.broken_lines, self._given_path)

    def parse(self, content: bytes) -> EnvText:
        """Return the text of a `.env`, parsed only if it is another than the last one.

        Between a renewal's reply and the write, the parser would take most of the time.
        """
        parsed = self._parsed
        if parsed is None or parsed.content != content:
            parsed = self._parsed = EnvText(content, self.path)
        return parsed

    def redact(self, text: str) -> str:
        """Return `text` without any secret of the `.env`; empty if that cannot be read."""
        try:
            values = self.load().values
        except StoreError:
            return ""
        # Redacted is what lives as a Secret; addresses are listed with commas.
        held = [Secret(part) for key in SECRET_KEYS for part in values.get(key, "").split(",")]
        return redact(text, *held)

    def service_lock(self, timeout: timedelta = timedelta(0)) -> FileLock:
        """Return the lock that a running service holds for all its life."""
        return FileLock(self.path + ".service.lock", owned_like=self.path, timeout=timeout)

    def clear_leftovers(self) -> None:
        """Remove what a killed writer left, as it may hold secrets; made to be called at a start.

        Raises StoreError or TemporaryFailure.
        """
        if has_leftovers(self.path) or has_leftovers(self.state_path):
            with self.writing():
                pass  # whoever holds the lock begins with that

    @property
    def version(self) -> Version | None:
        """Tells one version of the `.env` from the next; None while there is no file."""
        try:
            found = os.stat(self._given_path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    @contextmanager
    def writing(self, unless_changed_since: Version | None = None) -> Iterator["Writer"]:
        """Hold the lock of this `.env`; raises StoreError or TemporaryFailure.

        With a version, raises Overtaken as soon as whoever holds the lock has made another one.
        What the writer loads was read after the lock was had, so a renewal that another process
        finished meanwhile is seen, not repeated.
        """
        path = self.path
        read_bytes(path)
        seen = unless_changed_since
        lock = FileLock(
            path + ".lock",
            owned_like=path,
            timeout=self._lock_timeout,
            pause=self._pause,
            is_overtaken=lambda: seen is not None and self.version != seen,
        )
        with lock:
            recover(path)
            recover(_state_path(path))
            with Replacement(path) as replacement:
                # A store of the real path: a link that is switched meanwhile must not make us read
                # one file and write another.
                yield Writer(TokenStore(path), path, replacement)


class Writer:
    """What may be done while the lock is held."""

    def __init__(self, store: TokenStore, path: str, replacement: Replacement) -> None:
        self._store = store
        self._path = path
        self._replacement = replacement

    def load(self) -> Snapshot:
        """Read the files afresh, under the lock; raises StoreError."""
        return self._store.load()

    def prove_writable(self) -> None:
        """Make sure that tokens can be saved, before anything is spent for them.

        Raises StoreError, with nothing changed, if the file or its folder is not writable, the disk
        is full, or a broken line would swallow the new values.
        """
        keys = (ACCESS_TOKEN, REFRESH_TOKEN, EXPIRES_AT, USER_ID, EXTENDED_TOKEN)
        content = self._text().with_values(dict.fromkeys(keys, "0"))
        self._replacement.prepare(len(content))
        self.save_state(self._store.load().state, durable=False)

    def save_tokens(self, updates: Mapping[str, str], state: State) -> None:
        """Write keys of the `.env` in one replace, and the state; raises StoreError.

        The state goes first, so that no reader meets a token of ours that it takes for another's.
        If it cannot be saved the tokens are still saved, and then the error is raised: of a token
        the state does not know, the life can be found out; a lost one is gone for good.
        """
        content = self._text().with_values(updates)
        try:
            self.save_state(state, durable=False)
        except StoreError:
            self._replacement.commit(content)
            self.save_state(state, durable=False)  # the reserve of the tokens' file is free now
        else:
            self._replacement.commit(content)

    def save_state(self, state: State, *, durable: bool = True) -> None:
        """Write the state alone; raises StoreError."""
        save_state(self._store.state_path, state, owned_like=self._path, durable=durable)

    def _text(self) -> EnvText:
        return self._store.parse(read_bytes(self._path))


def _state_path(path: str) -> str:
    return path + ".state.json"


def read_tokens(values: Mapping[str, str], state: State) -> StoredTokens:
    """Return the tokens of a `.env`; the expiry is that of this token, or None if nobody knows.

    The stored expiry counts only for the token that was written with it. Somebody else's token is
    known by its JWT, else not at all.
    """
    token = _secret(values, ACCESS_TOKEN)
    if token is not None and state.has_refused(token.fingerprint):
        token = None
    return StoredTokens(
        access_token=token,
        expires_at=None if token is None else _expiry(token, values.get(EXPIRES_AT), state),
        refresh_token=_secret(values, REFRESH_TOKEN),
        user_id=values.get(USER_ID) or None,
    )


def format_expiry(expires_at: datetime) -> str:
    """Return an expiry as `.env` holds it: ISO 8601 with +05:30."""
    return expires_at.astimezone(IST).isoformat(timespec="seconds")


def _expiry(token: Secret, stored: str | None, state: State) -> datetime | None:
    claim = expiry_claim(token)
    if claim is not None and stored == format_expiry(claim):
        return claim
    return state.written.get(token.fingerprint, claim)


def _secret(values: Mapping[str, str], key: str) -> Secret | None:
    """Return a key's secret, or None if it is missing, empty, or cannot be one."""
    secret = Secret(values.get(key, ""))
    return secret if secret.is_well_formed else None
