"""One look at everything: what the files say, what is configured, and what follows for the plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker_tokens.brokers import Broker
from broker_tokens.calendar import TradingCalendar
from broker_tokens.clock import format_duration
from broker_tokens.errors import ConfigurationError, LoginRequired, TemporaryFailure, TokenError
from broker_tokens.expiry import expiry_claim, next_cut
from broker_tokens.model import Approval, State, StoredTokens, Way
from broker_tokens.policy import (
    Decision,
    Life,
    Rules,
    Situation,
    TellPerson,
    decide,
    is_backing_off,
    person_is_needed,
    untold_stage,
)
from broker_tokens.renewals.login_link import new_state
from broker_tokens.settings import Settings
from broker_tokens.store import Snapshot

# Makes settings and a broker of a `.env`'s values; called at every look, so edits count at once.
Configure = Callable[[Mapping[str, str]], tuple[Settings, Broker]]


@dataclass(frozen=True, slots=True)
class Look:
    """What is known at one moment."""

    now: datetime
    tokens: StoredTokens
    state: State
    settings: Settings
    broker: Broker
    situation: Situation
    rules: Rules
    env_path: str = ".env"

    @property
    def decision(self) -> Decision:
        """What is due now."""
        return decide(self.now, self.situation, self.rules)

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else put the stored token there, or its saved expiry cannot be true."""
        token = self.tokens.access_token
        return token is not None and (
            token.fingerprint not in self.state.written or self.situation.life is Life.UNKNOWN
        )

    @property
    def is_backing_off(self) -> bool:
        """Whether a failure asks to wait before the broker is asked again."""
        return is_backing_off(self.now, self.situation)

    @property
    def is_app_refused(self) -> bool:
        """Whether the broker has refused the app's present credentials."""
        return self.state.has_refused(self.settings.credentials_fingerprint)

    @property
    def untold_stage(self) -> TellPerson | None:
        """What the person would be told now if no help were near, None if nothing."""
        return untold_stage(self.now, self.situation, self.rules)

    @property
    def needs_person(self) -> bool:
        """Whether the hour has come, today, at which only a person can help."""
        return person_is_needed(self.now, self.situation, self.rules)

    @property
    def login_url(self) -> str:
        """Where a person logs in, or an empty text while the app's credentials are missing.

        Where a service listens for the redirect, each is a new link of its own, good until 03:30.
        """
        key = self.settings.notifier_secret
        state = new_state(key, next_cut(self.now)) if key is not None else None
        try:
            return self.broker.authorization_url(state)
        except TokenError:
            return ""

    def no_token(self, min_valid: timedelta = timedelta(0)) -> TokenError:
        """Return the error for a caller who wants a token of `min_valid` and cannot have one."""
        if self.situation.is_live(self.now) and self.tokens.expires_at is not None:
            left = self.tokens.expires_at - self.now
            return TemporaryFailure(
                f"The token lives for another {format_duration(left)}, and"
                f" {format_duration(min_valid)} were asked for.",
                "Every Upstox token ends at 03:30 IST; ask again after 03:31.",
                retry_after=left,
            )
        failure = self.state.last_failure
        return LoginRequired(
            f"Token is expired or invalid: no live access token is stored in {self.env_path},"
            " and only a person can get one."
            f"{f' (Last failure: {failure.what})' if failure else ''}",
            "Log in: python init_tokens.py",
            login_url=self.login_url,
        )


def take_look(
    snapshot: Snapshot, configure: Configure, now: datetime, *, is_listening: bool = False
) -> Look:
    """Put files, settings and time (aware) together; raises ConfigurationError.

    `is_listening` says that the broker's answers can reach this process.
    """
    try:
        settings, broker = configure(snapshot.values)
    except ConfigurationError as error:
        raise _with_broken_lines(error, snapshot.broken_lines) from None
    return Look(
        now=now,
        tokens=snapshot.tokens,
        state=snapshot.state,
        settings=settings,
        broker=broker,
        situation=_situation(snapshot, settings, now, is_listening=is_listening),
        rules=Rules(
            settings.refresh_time,
            settings.approval_time,
            TradingCalendar(settings.hours, snapshot.state.calendar.days),
        ),
        env_path=snapshot.path,
    )


def _with_broken_lines(error: ConfigurationError, lines: Sequence[int]) -> ConfigurationError:
    """Return the error with what may be its reason: a key in a broken line seems to be missing."""
    if not lines:
        return error
    where = ", ".join(map(str, lines))
    advice = f"Line {where} of it cannot be read: is a quotation mark never closed? {error.advice}"
    return ConfigurationError(error.cause, advice)


def _situation(
    snapshot: Snapshot, settings: Settings, now: datetime, *, is_listening: bool
) -> Situation:
    state = snapshot.state
    life = _life(snapshot.tokens, now)
    return Situation(
        life=life,
        expires_at=snapshot.tokens.expires_at if life is Life.KNOWN else None,
        is_silent=_is_silent(snapshot, settings),
        renewed_at=state.last_renewal.at if state.last_renewal else None,
        failures=state.failures,
        retry_at=state.retry_at,
        told=state.told,
        can_ask_phone=is_listening and _can_ask_phone(state, settings),
        approval=_standing_approval(state),
    )


def _life(tokens: StoredTokens, now: datetime) -> Life:
    if tokens.access_token is None:
        return Life.NONE
    if tokens.expires_at is None:
        return Life.UNKNOWN
    # An opaque token is given the 03:30 rule; one saved to live beyond the next 03:30 was saved
    # under a clock that has been set back since.
    if tokens.expires_at > next_cut(now) and expiry_claim(tokens.access_token) is None:
        return Life.UNKNOWN
    return Life.KNOWN


def _is_silent(snapshot: Snapshot, settings: Settings) -> bool:
    """Whether the refresh grant can be tried: wanted, possible, and not refused before."""
    refresh_token = snapshot.tokens.refresh_token
    return (
        Way.REFRESH_GRANT in settings.ways
        and refresh_token is not None
        and settings.has_credentials
        and not snapshot.state.has_refused(refresh_token.fingerprint)
        and not snapshot.state.has_refused(settings.credentials_fingerprint)
    )


def _standing_approval(state: State) -> Approval | None:
    """Return the last request for approval, unless the token that it brought has died since."""
    asked = state.approval
    is_over = asked is not None and asked.answered and state.has_refused(asked.answered)
    return None if is_over else asked


def _can_ask_phone(state: State, settings: Settings) -> bool:
    """Whether approval on the phone can be asked for: wanted, possible, and the app not refused."""
    return (
        Way.PHONE_APPROVAL in settings.ways
        and settings.notifier_secret is not None
        and settings.has_credentials
        and not state.has_refused(settings.credentials_fingerprint)
    )
