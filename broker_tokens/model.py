"""The nouns of the house: frozen values that the layers hand to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from broker_tokens.secrets import Secret

# How many fingerprints of each kind are remembered: enough for a bad day, small in the state file.
_REMEMBERED = 20


class Way(StrEnum):
    """How a token came, or can come, to us."""

    REFRESH_GRANT = "refresh_grant"
    PHONE_APPROVAL = "phone_approval"
    BROWSER_LOGIN = "browser_login"
    PASTE = "paste"
    FOUND = "found"  # somebody else put it into `.env`


@dataclass(frozen=True, slots=True)
class TokenReply:
    """What a broker's token endpoint, or a person, brought; not yet stored."""

    access_token: Secret
    expires_at: datetime
    user_id: str | None = None
    refresh_token: Secret | None = None
    extended_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """What `.env` holds. `expires_at` is None when nobody knows it without asking the broker."""

    access_token: Secret | None = None
    expires_at: datetime | None = None
    refresh_token: Secret | None = None
    user_id: str | None = None

    def is_live(self, now: datetime, min_valid: timedelta = timedelta(0)) -> bool:
        """Whether there is a token that is known to live longer than `min_valid` from `now`."""
        return self.expires_at is not None and self.expires_at - now > min_valid


@dataclass(frozen=True, slots=True)
class Renewal:
    """When the stored token came, and by which way."""

    at: datetime
    way: Way


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong last, as a sentence, and when."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Session:
    """One day's session as two aware instants."""

    opens: datetime
    closes: datetime


@dataclass(frozen=True, slots=True)
class MarketDays:
    """The days on which the market departs from the week: closed (None), or open at these hours.

    `asked_at` is when the broker was last asked for them, `learned_at` when it last answered.
    """

    days: Mapping[date, Session | None] = field(default_factory=dict)
    asked_at: datetime | None = None
    learned_at: datetime | None = None
    exchange: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """The last request for approval on the phone; it is for the broker's day of `asked_at` alone.

    `expires_at` is None while nobody knows whether the broker has it: it was about to be sent, or
    its reply was lost. `refusal` is the broker's reason for not taking it. `retry_at` is set while
    it has failed in passing, `tries` times. `answered` is the fingerprint of the token that came.
    """

    asked_at: datetime
    expires_at: datetime | None = None
    refusal: str = ""
    retry_at: datetime | None = None
    tries: int = 0
    answered: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What a restart must not forget; lives in `.env.state.json` and holds no secret.

    `written`: fingerprint -> expiry of the last tokens we wrote, so that a token somebody else put
    into `.env` is told from ours. `refused`: fingerprints of what the broker refused for good.
    `spent_codes`: fingerprints of authorization codes and login links that have been used.
    `told`: the stage of the day up to which the person has been told. `noticed`: what the person's
    channels were given today. `probed_at`: when the broker was last asked whether the token lives.
    `calendar`: the days on which the market departs from the week. `ran_for`: fingerprint of the
    last token that the user's own command was run for.
    """

    written: dict[str, datetime] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    spent_codes: tuple[str, ...] = ()
    failures: int = 0
    retry_at: datetime | None = None
    told: datetime | None = None
    last_renewal: Renewal | None = None
    last_failure: Failure | None = None
    approval: Approval | None = None
    noticed: dict[str, datetime] = field(default_factory=dict)
    probed_at: datetime | None = None
    calendar: MarketDays = field(default_factory=MarketDays)
    ran_for: str = ""
    command_failure: Failure | None = None

    def has_refused(self, fingerprint: str) -> bool:
        """Whether the broker has refused, for good, the thing with this fingerprint."""
        return fingerprint in self.refused

    def with_written(self, token: Secret, expires_at: datetime) -> "State":
        """Return a state that knows `token` as ours; the one before it stays known.

        Two are kept because this is saved before `.env` is replaced: a reader in between meets the
        old token, a crash in between leaves it, and both must still be recognised.
        """
        others = {k: v for k, v in self.written.items() if k != token.fingerprint}
        previous = dict(list(others.items())[-1:])
        return replace(self, written={**previous, token.fingerprint: expires_at})

    def with_refused(self, fingerprint: str) -> "State":
        """Return a state that remembers a refusal of the thing with this fingerprint."""
        rest = tuple(f for f in self.refused if f != fingerprint)
        return replace(self, refused=(*rest, fingerprint)[-_REMEMBERED:])

    def without_refused(self, *fingerprints: str) -> "State":
        """Return a state that holds nothing against these any more."""
        return replace(self, refused=tuple(f for f in self.refused if f not in fingerprints))

    def with_spent(self, *fingerprints: str) -> "State":
        """Return a state that remembers that this code, and its login link, have been used."""
        return replace(self, spent_codes=(*self.spent_codes, *fingerprints)[-_REMEMBERED:])


class Stage(StrEnum):
    """How urgently the person is addressed."""

    ASK = "ask"
    REMIND = "remind"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Event:
    """Something an observer may want to tell; never holds a secret."""

    at: datetime


@dataclass(frozen=True, slots=True)
class TokenStored(Event):
    """A new token is in `.env`."""

    way: Way
    expires_at: datetime
    fingerprint: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalAsked(Event):
    """The broker was asked to have the token approved on the person's phone.

    `is_certain` is False when its reply was lost. `goes_elsewhere` names the host that the broker
    will send the token to when that is not our address. `stage` is the hour of the day.
    """

    stage: Stage
    session_opens: datetime
    expires_at: datetime
    login_url: str
    is_certain: bool = True
    goes_elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class PersonNeeded(Event):
    """Today's session is not covered and only a person can change that.

    `asked_at` is when approval on the phone was asked for, None if it was not.
    """

    stage: Stage
    due_at: datetime
    session_opens: datetime
    login_url: str
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RenewalFailed(Event):
    """A renewal did not succeed; `retry_at` is None when it will not be tried again by itself."""

    sentence: str
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class AppRefused(Event):
    """The broker refuses the app or its credentials; only the person can mend that.

    Found out at night it is not urgent, and said again when the person is needed.
    """

    sentence: str
    is_urgent: bool = True


@dataclass(frozen=True, slots=True)
class TokenDied(Event):
    """The broker refused the stored token before its time."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """One try to get a token by this way came to nothing; a final one is a refusal."""

    way: Way
    sentence: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class LoggedOut(Event):
    """The token was ended at the broker, at the person's wish."""

    fingerprint: str
