"""What is due: a pure function of the time, what is known of the token, and the rules.

Nothing here remembers. Due-ness is recomputed at every wake from saved state, so a restart, a
missed run, a suspended laptop and a stepped clock need no special case.
"""

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import Enum, auto

from broker_tokens.backoff import LAST_RETRY, LAST_RETRY_IN_SESSION, LONGEST_RETRY_AFTER
from broker_tokens.calendar import TradingCalendar
from broker_tokens.clock import ist_date, last_occurrence, next_occurrence
from broker_tokens.expiry import CUT, is_same_day, next_cut
from broker_tokens.model import Approval, Session
from broker_tokens.stages import REMINDER_PACE, DayStage, stages_of

# The broker's clock may run a little behind ours: in the first minute after our 03:30 its tokens,
# old and new, may be those of the old day, so it is asked nothing.
GRACE_AFTER_CUT = timedelta(minutes=1)

# For a token that does not end at the daily cut: time for several tries before it dies.
LEAD_BEFORE_EXPIRY = timedelta(minutes=5)

# Tokens of a few seconds' life are not renewed faster than this; those of a minute still in time.
SHORTEST_PACE = timedelta(seconds=30)

# A retry as near as this comes before any word to the person: a laptop's network is often up only
# seconds after the laptop.
_NEAR = timedelta(minutes=1)

# After so many tries, 75 s at most, the trouble is no hiccup. In the session the next one is always
# near: waiting for it for ever would be silence.
_QUICK_TRIES = 4


class Life(Enum):
    """What is known of the stored token without asking the broker."""

    NONE = auto()  # there is none, or the broker has refused it
    KNOWN = auto()  # its expiry is known (and may be past)
    UNKNOWN = auto()  # somebody else's token that does not tell


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the plan depends on besides the time and the rules."""

    life: Life
    expires_at: datetime | None = None
    is_silent: bool = False  # a way without a person is available
    renewed_at: datetime | None = None
    failures: int = 0
    retry_at: datetime | None = None
    told: datetime | None = None
    can_ask_phone: bool = False  # the broker can ask the person's phone, and we hear the answer
    approval: Approval | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether a token is stored that is known to live at `now`."""
        return self.expires_at is not None and now < self.expires_at

    def covers(self, session: Session) -> bool:
        """Whether the stored token lives to the end of the session."""
        return self.expires_at is not None and self.expires_at >= session.closes


@dataclass(frozen=True, slots=True)
class Rules:
    """The configured part of the plan; times are IST."""

    refresh_time: time = time(2, 0)
    approval_time: time = time(8, 0)
    calendar: TradingCalendar = field(default_factory=TradingCalendar)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due before `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class FindOut:
    """Ask the broker whether the stored token lives."""


@dataclass(frozen=True, slots=True)
class RenewSilently:
    """Renew without a person."""


@dataclass(frozen=True, slots=True)
class AskApproval(DayStage):
    """Have the broker ask the person's phone; that counts as the notice of the stage."""


@dataclass(frozen=True, slots=True)
class TellPerson(DayStage):
    """Tell the person that today's session needs them."""


Decision = Wait | FindOut | RenewSilently | AskApproval | TellPerson


def decide(now: datetime, situation: Situation, rules: Rules) -> Decision:
    """Return the one thing that is due at `now` (aware), or how long nothing is."""
    return (
        _silent_step(now, situation, rules)
        or _approval_step(now, situation, rules)
        or _person_step(now, situation, rules)
        or Wait(_next_due(now, situation, rules))
    )


def person_is_needed(now: datetime, situation: Situation, rules: Rules) -> bool:
    """Whether the hour has come, today, at which only a person can help, told or not."""
    return _stage_reached(now, situation, rules) is not None and not _silent_help_is_near(
        now, situation
    )


def untold_stage(now: datetime, situation: Situation, rules: Rules) -> TellPerson | None:
    """Return today's latest stage if it was not told, whatever help may be near."""
    reached = _stage_reached(now, situation, rules)
    if reached is None or _was_told(now, reached.due_at, situation.told):
        return None
    return TellPerson(reached.stage, reached.due_at, reached.session)


def is_backing_off(now: datetime, situation: Situation) -> bool:
    """Whether a failure asks to wait; one saved under a clock since set back does not."""
    retry_at = situation.retry_at
    return retry_at is not None and now < retry_at <= now + LONGEST_RETRY_AFTER


def longest_retry(now: datetime, rules: Rules) -> timedelta:
    """Return the longest wait after a failure at `now`: 10 min, a minute when strategies wait."""
    session = rules.calendar.coming_session(now)
    return LAST_RETRY_IN_SESSION if session.opens - now <= LAST_RETRY else LAST_RETRY


def _silent_step(
    now: datetime, situation: Situation, rules: Rules
) -> FindOut | RenewSilently | None:
    if _free_to_ask_at(now, situation) > now:
        return None
    if situation.life is Life.UNKNOWN:
        return FindOut()
    if situation.is_silent and _renewal_due_at(now, situation, rules) <= now:
        return RenewSilently()
    return None


def _free_to_ask_at(now: datetime, situation: Situation) -> datetime:
    """Return from when on the broker may be asked: after a backoff, not just after 03:30."""
    at = now
    if is_backing_off(now, situation) and situation.retry_at is not None:
        at = situation.retry_at
    return max(at, last_occurrence(at, CUT) + GRACE_AFTER_CUT)


def _renewal_due_at(now: datetime, situation: Situation, rules: Rules) -> datetime:
    """Return when the next silent renewal is due; at or before `now` means at once."""
    if situation.life is not Life.KNOWN or situation.expires_at is None:
        return now
    nightly = _nightly_due_at(now, situation, situation.expires_at, rules)
    return min(nightly, _due_for_expiry(situation.expires_at, situation.renewed_at))


def _due_for_expiry(expires_at: datetime, renewed_at: datetime | None) -> datetime:
    """Return when a token's end calls for the next one.

    At the daily cut that is just after it, as a token made before dies with the old one. A token
    that ends at another hour is replaced ahead of its end, but not in the first half of its life.
    """
    if next_cut(expires_at - timedelta(microseconds=1)) == expires_at:
        return expires_at + GRACE_AFTER_CUT
    ahead = expires_at - LEAD_BEFORE_EXPIRY
    if renewed_at is None or renewed_at >= expires_at:
        return ahead
    return max(ahead, renewed_at + max((expires_at - renewed_at) / 2, SHORTEST_PACE))


def _nightly_due_at(
    now: datetime, situation: Situation, expires_at: datetime, rules: Rules
) -> datetime:
    """Return the run of `--time` that is due: the latest one, if it was missed, else the next."""
    latest = last_occurrence(now, rules.refresh_time)
    renewed_since = situation.renewed_at is not None and latest <= situation.renewed_at <= now
    if not renewed_since and expires_at <= next_cut(latest):
        return latest
    # More than a day before its end (a read-only token of a year) no run would bring a later one.
    last_day = expires_at - timedelta(days=1, microseconds=1)
    return next_occurrence(max(now, last_day), rules.refresh_time)


def _approval_step(now: datetime, situation: Situation, rules: Rules) -> AskApproval | None:
    reached = _stage_reached(now, situation, rules)
    may_ask_at = _phone_free_at(now, situation)
    if reached is None or may_ask_at is None or _silent_help_is_near(now, situation):
        return None
    if max(may_ask_at, last_occurrence(now, CUT) + GRACE_AFTER_CUT) > now:
        return None
    return AskApproval(reached.stage, reached.due_at, reached.session)


def _phone_free_at(now: datetime, situation: Situation) -> datetime | None:
    """Return from when on approval may be asked for; None if it cannot, or has been today.

    A request ends at 03:30, so one of another day of the broker says nothing, nor does one from
    under a clock that has been set back since. There is no way to ask what became of it: it counts
    as outstanding until an approved token comes.
    """
    if not situation.can_ask_phone:
        return None
    asked = situation.approval
    if asked is None or not is_same_day(asked.asked_at, now):
        return now
    if asked.retry_at is None:
        return None
    return asked.retry_at if asked.retry_at <= now + LONGEST_RETRY_AFTER else now


def _person_step(now: datetime, situation: Situation, rules: Rules) -> TellPerson | None:
    if _silent_help_is_near(now, situation) or _phone_is_near(now, situation):
        return None
    return untold_stage(now, situation, rules)


def _was_told(now: datetime, due_at: datetime, told: datetime | None) -> bool:
    """Whether this stage, or a later one of its day, was told.

    Another day's entry says nothing, nor does one further ahead than the next reminder: it was
    saved under a clock that has been set back since.
    """
    if told is None or ist_date(told) != ist_date(due_at):
        return False
    return due_at <= told <= now + REMINDER_PACE


def _stage_reached(now: datetime, situation: Situation, rules: Rules) -> DayStage | None:
    """Return today's latest stage whose hour has come, if today's session is not covered."""
    session = rules.calendar.session_on(ist_date(now))
    if session is None or now >= session.closes or situation.covers(session):
        return None
    reached = [stage for stage in stages_of(session, rules.approval_time) if stage.due_at <= now]
    return reached[-1] if reached else None


def _silent_help_is_near(now: datetime, situation: Situation) -> bool:
    """Whether a look at the broker, or a silent renewal, may yet spare the person."""
    if situation.life is not Life.UNKNOWN and not situation.is_silent:
        return False
    if situation.is_live(now) or not situation.failures:
        return True
    return _is_near(_free_to_ask_at(now, situation) - now, situation.failures)


def _phone_is_near(now: datetime, situation: Situation) -> bool:
    """Whether approval, which failed in passing, is soon asked for again."""
    free_at, asked = _phone_free_at(now, situation), situation.approval
    return free_at is not None and _is_near(free_at - now, asked.tries if asked else 0)


def _is_near(wait: timedelta, failures: int) -> bool:
    """Whether the next try is due, or one of the quick ones and soon due."""
    return wait <= timedelta(0) or (wait <= _NEAR and failures <= _QUICK_TRIES)


def _next_due(now: datetime, situation: Situation, rules: Rules) -> datetime:
    """Return the earliest future instant at which something may become due."""
    candidates = [_next_stage_at(now, situation, rules)]
    if situation.is_live(now) and situation.expires_at is not None:
        candidates.append(situation.expires_at)
    free_at = _free_to_ask_at(now, situation)
    if situation.life is Life.UNKNOWN:
        candidates.append(free_at)
    elif situation.is_silent:
        candidates.append(max(free_at, _renewal_due_at(now, situation, rules)))
    phone_at = _phone_free_at(now, situation)
    if phone_at is not None and phone_at > now:
        candidates.append(phone_at)
    return min(candidates)


def _next_stage_at(now: datetime, situation: Situation, rules: Rules) -> datetime:
    """Return when the person is next spoken to, if nothing changes until then."""
    covered_until = max(now, situation.expires_at or now)
    session = rules.calendar.coming_session(covered_until)
    ahead = [
        stage.due_at for stage in stages_of(session, rules.approval_time) if stage.due_at > now
    ]
    return ahead[0] if ahead else session.closes
