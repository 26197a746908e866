"""What the broker has handed out and what of it still counts: codes, tokens, refresh families."""

import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from broker_tokens.clock import Clock
from broker_tokens.simulator.minting import EXTENDED_LIFE, Mint, expiry_after

# Six characters, as in the documented sample `mk404x` (Upstox docs, Authorize).
CODE_LENGTH = 6
CODE_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Holding:
    """Who owns a code or token, and the instant from which it is dead."""

    user_id: str
    expires_at: datetime


@dataclass
class Family:
    """Everything that descends from one login: the refresh token that counts, and its tokens."""

    user_id: str
    current: str = field(repr=False)
    access: set[str] = field(default_factory=set, repr=False)
    revoked: bool = False
    spent: str = field(default="", repr=False)
    spent_at: datetime | None = None


class Ledger:
    """The broker's books; the caller holds the lock."""

    def __init__(
        self, clock: Clock, mint: Mint, *, code_life: timedelta, newest_token_only: bool
    ) -> None:
        self._clock = clock
        self._mint = mint
        self._code_life = code_life
        self._newest_token_only = newest_token_only
        self._codes: dict[str, Holding] = {}
        self._access: dict[str, Holding] = {}
        self._extended: dict[str, Holding] = {}
        self._analytics: dict[str, Holding] = {}
        # Spent refresh tokens stay listed: presenting one must be recognised as a replay.
        self._families: dict[str, Family] = {}

    def issue_code(self, user_id: str) -> str:
        """Return a new single-use code for this user's consent."""
        self._forget_expired(self._codes)
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
        self._codes[code] = Holding(user_id, self._clock() + self._code_life)
        return code

    def spend_code(self, code: str) -> str | None:
        """Take a code out of the books and return its user, or None when it does not count."""
        holding = self._codes.pop(code, None)
        return holding.user_id if holding and self._counts(holding) else None

    def issue_access(self, user_id: str, family: Family | None = None) -> str:
        """Return a new access token, dead at the next 03:30 IST."""
        self._forget_expired(self._access)
        if self._newest_token_only:
            self._drop_access_of(user_id)
        now = self._clock()
        expires = expiry_after(now)
        token = self._mint.access_token(user_id, now, expires)
        self._access[token] = Holding(user_id, expires)
        if family is not None:
            family.access.intersection_update(self._access)
            family.access.add(token)
        return token

    def holding(self, access_token: str) -> Holding | None:
        """Return who holds a live access token and until when; None when it is dead."""
        holding = self._access.get(access_token) or self._analytics.get(access_token)
        return holding if holding and self._counts(holding) else None

    def revoke_access(self, access_token: str) -> None:
        """End an access token early; one that is already dead is no error."""
        self._access.pop(access_token, None)

    def revoke_all_access(self) -> None:
        """End every access token, as a change of the static IP does."""
        self._access.clear()

    def extended_token(self, user_id: str, *, renew: bool) -> str:
        """Return the user's extended token, a new one if asked or none exists (Get Token)."""
        self._forget_expired(self._extended)
        held = [token for token, holding in self._extended.items() if holding.user_id == user_id]
        if held and not renew:
            return held[0]
        # That the new one ends the old is undocumented.
        for token in held:
            del self._extended[token]
        now = self._clock()
        token = self._mint.extended_token(user_id, now)
        self._extended[token] = Holding(user_id, now + EXTENDED_LIFE)
        return token

    def is_extended(self, token: str) -> bool:
        """Tell whether this is a live extended token."""
        holding = self._extended.get(token)
        return holding is not None and self._counts(holding)

    def analytics_token(self, user_id: str) -> str:
        """Return a new read-only token of a year; it ends the user's older one (Upstox docs)."""
        for key in [key for key, held in self._analytics.items() if held.user_id == user_id]:
            del self._analytics[key]
        now = self._clock()
        token = self._mint.extended_token(user_id, now)
        self._analytics[token] = Holding(user_id, now + EXTENDED_LIFE)
        return token

    def is_analytics(self, token: str) -> bool:
        """Tell whether this is a live Analytics token."""
        holding = self._analytics.get(token)
        return holding is not None and self._counts(holding)

    def open_family(self, user_id: str) -> Family:
        """Start the family of a new login, with its first refresh token."""
        family = Family(user_id, secrets.token_urlsafe(32))
        self._families[family.current] = family
        return family

    def family(self, refresh_token: str) -> Family | None:
        """Return the family of a refresh token, spent ones included; None when it is unknown."""
        return self._families.get(refresh_token)

    def rotate(self, family: Family, presented: str) -> None:
        """Replace a family's refresh token; the one presented is spent, once and for all."""
        if presented != family.spent:
            family.spent, family.spent_at = presented, self._clock()
        family.current = secrets.token_urlsafe(32)
        self._families[family.current] = family

    def revoke_family(self, family: Family) -> None:
        """End a family: its refresh token and every access token that came of it."""
        family.revoked = True
        for token in family.access:
            self.revoke_access(token)
        family.access.clear()

    def revoke_all_families(self) -> None:
        """End every refresh token with all that came of it."""
        for family in self._families.values():
            self.revoke_family(family)

    def _counts(self, holding: Holding) -> bool:
        return self._clock() < holding.expires_at

    def _forget_expired(self, book: dict[str, Holding]) -> None:
        for key in [key for key, holding in book.items() if not self._counts(holding)]:
            del book[key]

    def _drop_access_of(self, user_id: str) -> None:
        for token in [key for key, held in self._access.items() if held.user_id == user_id]:
            self.revoke_access(token)
