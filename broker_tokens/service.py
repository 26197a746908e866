"""The one place where tokens change by plan: load, decide, renew, save, tell."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker_tokens.clock import format_ist
from broker_tokens.errors import (
    StoreError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.expiry import next_cut
from broker_tokens.file_lock import Overtaken
from broker_tokens.look import Look
from broker_tokens.model import (
    StoredTokens,
    TokenDied,
    TokenReply,
    Way,
)
from broker_tokens.policy import (
    AskApproval,
    FindOut,
    Life,
    RenewSilently,
    TellPerson,
    Wait,
)
from broker_tokens.prompter import TokenPrompter
from broker_tokens.renewals import adoption, refresh_grant, setbacks
from broker_tokens.secrets import Secret
from broker_tokens.store import Version
from broker_tokens.watch import LearnCalendar, Probe, calendar_due_at, probe_due_at

# One tick can adopt, fail to renew, learn the calendar, ask the phone, and tell the person; the
# next one does what is left.
_STEPS_PER_TICK = 6

# After a failure that the state could not take (a full disk): how long things are left alone.
_PAUSE_AFTER_ERROR = timedelta(seconds=30)

Due = FindOut | RenewSilently | AskApproval | TellPerson | LearnCalendar | Probe
Step = Due | Wait


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tick came to: the look at its end, when to look again, and what went wrong."""

    look: Look
    next_due: datetime
    error: TokenError | None = None


class TokenService(TokenPrompter):
    """Keeps the tokens of one `.env`; any number of processes and threads may use one each."""

    _unsaved: tuple[StoredTokens, TokenReply] | None = None

    def tick(self) -> Outcome:
        """Do all that is due now and return when to come again.

        What a step raises is in the outcome; StoreError and ConfigurationError of the look itself
        are raised.
        """
        error: TokenError | None = None
        failed: Step | None = None
        for _ in range(_STEPS_PER_TICK):
            look = self.look()
            self._announcer.notice(look)
            step = _next_step(look)
            if isinstance(step, Wait):
                self._trouble = str(error or "")
                return Outcome(look, step.until, error)
            if step == failed:
                # The failure could not be noted (a full disk, a lock held): no help is near.
                if (stage := look.untold_stage) is not None:
                    self._attempt(stage)
                break
            if (failure := self._attempt(step)) is not None:
                error, failed = failure, step
        look = self.look()
        return Outcome(look, look.now + _PAUSE_AFTER_ERROR, error)

    def renew(self) -> StoredTokens:
        """Renew by the refresh grant now, whatever is due, and whatever was refused before."""
        return self._renew(lambda _: True)

    def current_token(self, min_valid: timedelta = timedelta(0)) -> Secret:
        """Return a token that lives longer than `min_valid`; renews silently if that can help.

        Raises LoginRequired when only a person can help, TemporaryFailure when time can.
        """
        look = self.look()
        # A refusal is noted in the state; the next way is tried, and in the end LoginRequired.
        with suppress(TokenRejected):
            if look.situation.life is Life.UNKNOWN:
                self._respect_backoff(look)
                self._adopt()
        while self._is_overtaken_at_renewing(min_valid):
            pass  # look again
        look = self.look()
        token = look.tokens.access_token
        if token is None or not look.tokens.is_live(look.now, min_valid):
            raise look.no_token(min_valid)
        return token

    def _attempt(self, step: Due) -> TokenError | None:
        try:
            self._do(step)
        except TokenError as failure:
            self._tell_failure(failure)
            return failure
        return None

    def _do(self, step: Due) -> None:
        match step:
            case FindOut():
                self._adopt()
            case RenewSilently():
                self._renew(lambda look: isinstance(look.decision, RenewSilently))
            case AskApproval():
                self._ask_phone_if_due()
            case TellPerson():
                self._tell_person()
            case LearnCalendar():
                self.learn_calendar()
            case Probe():
                with suppress(TokenRejected):  # told as such, and the next step replaces it
                    self.probe()

    def _renew(
        self, is_due: Callable[[Look], bool], version: Version | None = None
    ) -> StoredTokens:
        writing = self._store.writing(unless_changed_since=version)
        with self._attempt_by(Way.REFRESH_GRANT), writing as writer:
            look = self._look(writer)
            if not is_due(look):
                return look.tokens  # another process was faster
            reply = self._unsaved_reply(look) or refresh_grant.renew(writer, look, self._jitter)
            try:
                tokens = self._accept(writer, reply, Way.REFRESH_GRANT)
            except TokenRejected as error:
                setbacks.record(writer, look, error, self._jitter, spent=look.tokens.refresh_token)
                raise
            except StoreError:
                self._unsaved = (look.tokens, reply)
                raise
        self._unsaved = None
        self._tell_stored(tokens, Way.REFRESH_GRANT)
        return tokens

    def _unsaved_reply(self, look: Look) -> TokenReply | None:
        """Return a renewal that could not be written, while nothing newer has come.

        Its refresh token is spent, so asking the broker again could end the whole login.
        """
        if self._unsaved is None or self._unsaved[0] != look.tokens:
            return None
        return self._unsaved[1] if self._unsaved[1].expires_at > look.now else None

    def _is_overtaken_at_renewing(self, min_valid: timedelta) -> bool:
        """Renew a dead token if that helps; return True if `.env` was changed by another meanwhile.

        Of hundreds that meet a dead token one renews; the others need not queue for its lock.
        """
        version = self._store.version
        look = self.look()
        try:
            if not look.tokens.is_live(look.now, min_valid):
                self._renew_if_it_helps(look, min_valid, version)
        except Overtaken:
            return True
        except TokenRejected:
            pass  # noted in the state
        return False

    def _renew_if_it_helps(self, look: Look, min_valid: timedelta, version: Version | None) -> None:
        """Renew, unless there is no silent way or the new token would end at the same 03:30."""
        ends_at_cut = look.situation.is_live(look.now) and (
            look.tokens.expires_at == next_cut(look.now)
        )
        if look.situation.is_silent and not ends_at_cut:
            self._respect_backoff(look)
            self._renew(lambda again: not again.tokens.is_live(again.now, min_valid), version)

    def _respect_backoff(self, look: Look) -> None:
        if look.is_backing_off and look.state.retry_at is not None:
            failure = look.state.last_failure
            raise TemporaryFailure(
                f"The last try failed: {failure.what if failure else 'for an unknown reason.'}",
                f"The next one is due at {format_ist(look.state.retry_at)}.",
                retry_after=look.state.retry_at - look.now,
            )

    def _adopt(self) -> None:
        """Take over a token that somebody else put into `.env`."""
        with self._attempt_by(Way.FOUND), self._store.writing() as writer:
            look = self._look(writer)
            token = look.tokens.access_token
            if token is None or not look.is_foreign:
                return
            try:
                tokens = adoption.adopt(writer, look, token, self._jitter)
            except TokenRejected as error:
                refusal: TokenRejected | None = error
            else:
                refusal = None
        if refusal is not None:
            self._tell(TokenDied(look.now, token.fingerprint))
            raise refusal
        self._tell_stored(tokens, Way.FOUND)


def _next_step(look: Look) -> Step:
    """Return what is due: the plan, and before a person is spoken to, what spares or informs them.

    Somebody else's token whose end is known is first taken over.
    """
    if look.is_foreign and look.situation.life is Life.KNOWN:
        return FindOut()
    decision = look.decision
    if isinstance(decision, FindOut | RenewSilently):
        return decision
    calendar_at = calendar_due_at(look.now, look.state.calendar)
    if calendar_at <= look.now or look.state.calendar.exchange != look.settings.exchange:
        return LearnCalendar()
    if not isinstance(decision, Wait):
        return decision
    probe_at = probe_due_at(look.now, look.situation, look.rules, look.state.probed_at)
    if probe_at is not None and probe_at <= look.now:
        return Probe()
    return Wait(min(at for at in (decision.until, calendar_at, probe_at) if at is not None))
