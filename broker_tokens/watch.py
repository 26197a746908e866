"""What the service looks at by itself, at a modest pace: the token's life and the calendar.

Pure, as the plan is: due-ness follows from the time and from what is saved of the last look.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from broker_tokens.clock import ist_date
from broker_tokens.model import MarketDays, Session
from broker_tokens.policy import Life, Rules, Situation

# An early end (static IP changed, logout elsewhere) is noticed within this, at six requests an hour
# where 2,000 in half an hour are allowed (Upstox docs, Rate Limiting).
PROBE_PACE = timedelta(minutes=10)

# A token that died overnight is found before the session opens.
PROBE_LEAD = timedelta(minutes=10)

# Holidays are announced days ahead, special sessions too.
CALENDAR_PACE = timedelta(hours=20)
CALENDAR_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the broker whether the stored token still lives."""


@dataclass(frozen=True, slots=True)
class LearnCalendar:
    """Ask the broker for holidays and special sessions."""


def calendar_due_at(now: datetime, known: MarketDays) -> datetime:
    """Return when the calendar is next asked for; at or before `now` means at once."""
    asked_at = known.asked_at
    if asked_at is None or asked_at > now:  # saved under a clock that has been set back since
        return now
    succeeded = known.learned_at is not None and asked_at <= known.learned_at <= now
    return asked_at + (CALENDAR_PACE if succeeded else CALENDAR_RETRY)


def probe_due_at(
    now: datetime, situation: Situation, rules: Rules, probed_at: datetime | None
) -> datetime | None:
    """Return when the stored token's life is next asked for, None if it will not be."""
    if situation.life is not Life.KNOWN or not situation.is_live(now):
        return None
    session = rules.calendar.session_on(ist_date(now))
    if session is None or now >= session.closes:
        session = rules.calendar.coming_session(now)
    at = max(session.opens - PROBE_LEAD, _last_sign_of_life(now, situation, probed_at, session))
    return at if at < session.closes and situation.is_live(at) else None


def _last_sign_of_life(
    now: datetime, situation: Situation, probed_at: datetime | None, session: Session
) -> datetime:
    """Return a pace after the last time the broker took, or gave, the token."""
    signs = [at for at in (probed_at, situation.renewed_at) if at is not None and at <= now]
    return max(signs) + PROBE_PACE if signs else session.opens - PROBE_LEAD
