"""Is the coming session safe? One judgement, made of what is stored and of who looks after it.

It is about the session that is open, else the next one; while the open one is covered, about the
one after it, which is tomorrow morning's. It tells a person what to do now:

- OK: nothing needs to be done now. The token covers the session, or somebody watches who will renew
  it silently, or will ask the person at the hour agreed on. So an evening before a login is OK.
- WARNING: it can still be made good in time. The hour of asking has passed, a silent renewal fails,
  or nobody watches while the session is still far.
- CRITICAL: strategies are without a token, or will be if nobody does anything. The session is open,
  the app is refused, or nobody watches in the last hours before the person would be asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from broker_tokens.attendance import LONGEST_SILENCE, Attendance
from broker_tokens.clock import IST, format_duration, format_ist, last_occurrence
from broker_tokens.expiry import CUT, is_read_only
from broker_tokens.forecast import first_due
from broker_tokens.look import Look
from broker_tokens.model import Session
from broker_tokens.notices.channels import is_any_configured
from broker_tokens.policy import GRACE_AFTER_CUT, Life
from broker_tokens.renewals.phone_approval import is_outstanding
from broker_tokens.stages import stages_of

# Time for a person who gets up to see it, and to start the service before it would have to ask.
_LAST_HOURS = timedelta(hours=2)


class Level(StrEnum):
    """How the coming session stands; monitoring systems know the same three."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a session stands, in a word and in a sentence."""

    level: Level
    sentence: str
    session: Session


_Verdict = tuple[Level, str]


def outlook(look: Look, attendance: Attendance) -> Outlook:
    """Return whether the next session that strategies may have to worry about is safe."""
    calendar = look.rules.calendar
    session = calendar.coming_session(look.now)
    if session.opens <= look.now and look.situation.covers(session):
        session = calendar.coming_session(session.closes)
    level, words = _judge(look, attendance, session)
    return Outlook(level, f"Session of {format_ist(session.opens)}: {words}.", session)


def _judge(look: Look, attendance: Attendance, session: Session) -> _Verdict:
    if look.situation.covers(session):
        token = look.tokens.access_token
        limits = ", which is for reading only" if token and is_read_only(token) else ""
        return Level.OK, f"covered by the stored token{limits}"
    return (
        _of_the_app(look, attendance)
        or _of_an_open_session(look, attendance, session)
        or _of_the_watch(look, attendance, session)
        or _of_a_silent_renewal(look, session)
        or _of_the_person(look, session)
    )


def lacks_credentials(look: Look, attendance: Attendance) -> bool:
    """Whether nobody has the app's credentials.

    Who looks after the `.env` has them, perhaps from systemd or its own environment: without, it
    does not look.
    """
    return not (look.settings.has_credentials or attendance.is_watched(look.now))


def _of_the_app(look: Look, attendance: Attendance) -> _Verdict | None:
    """Judge what no hour and no retry mends."""
    if lacks_credentials(look, attendance):
        missing = "Client ID/Secret not found, so nobody can log in or renew"
        return Level.CRITICAL, f"NOT SAFE: {missing}"
    if look.is_app_refused:
        return Level.CRITICAL, "NOT SAFE: Upstox refuses this app or its credentials"
    return None


def _of_an_open_session(look: Look, attendance: Attendance, session: Session) -> _Verdict | None:
    if look.now < session.opens or look.situation.is_live(look.now):
        return None
    if look.situation.life is Life.UNKNOWN:
        return None  # it may well live
    help_words = "nobody looks after this .env"
    if attendance.is_watched(look.now):
        help_words = "renewal is being tried" if look.situation.is_silent else _deed_now(look)
    return Level.CRITICAL, f"NOT SAFE: it is open and no live token is stored; {help_words}"


def _of_the_watch(look: Look, attendance: Attendance, session: Session) -> _Verdict | None:
    """Judge that nobody would renew or ask: far from the session it may be meant so."""
    if attendance.is_watched(look.now):
        return None
    is_near = look.now >= _first_asked_at(look, session) - _LAST_HOURS
    level = Level.CRITICAL if is_near else Level.WARNING
    return level, f"NOT SAFE: {_absence(look.now, attendance)}, so nobody will renew or ask"


def _absence(now: datetime, attendance: Attendance) -> str:
    seen = attendance.last_look
    ago = f" for {format_duration(now - seen)}" if seen is not None and seen < now else ""
    if attendance.is_running:
        return f"the service (pid {attendance.pid or 'unknown'}) hangs, it has not looked{ago}"
    return f"nobody has looked after this .env{ago}" if ago else "nobody looks after this .env"


def _of_a_silent_renewal(look: Look, session: Session) -> _Verdict | None:
    situation = look.situation
    if situation.life is Life.UNKNOWN:
        return Level.WARNING, "how long the stored token lives is not known yet"
    if not situation.is_silent:
        return None
    is_late = look.now >= _first_asked_at(look, session)
    at = format_ist(_covering_renewal_at(look, session))
    if situation.failures:
        tries = "once" if situation.failures == 1 else f"{situation.failures} times"
        deed = f", or {_deed_now(look)}" if is_late else ""
        return Level.WARNING, f"silent renewal has failed {tries}; next try {at}{deed}"
    if (since := _overdue_since(look)) is not None:
        what = f"silent renewal was due at {format_ist(since)} and has not come"
        return Level.WARNING, f"{what}; the log says why, or {_deed_now(look)}"
    is_well = situation.is_live(look.now) or not is_late
    return Level.OK if is_well else Level.WARNING, f"will be renewed silently at {at}"


def _overdue_since(look: Look) -> datetime | None:
    """Return since when a silent renewal has not come that somebody should have made long ago.

    A disk or a lock may keep it from even being tried, which no count of failures tells.
    """
    expires_at, due = look.situation.expires_at, last_occurrence(look.now, CUT) + GRACE_AFTER_CUT
    if look.situation.is_live(look.now):
        return None
    due = max(due, expires_at) if expires_at is not None else due
    return due if look.now - due >= LONGEST_SILENCE else None


def _covering_renewal_at(look: Look, session: Session) -> datetime:
    """Return when the renewal comes that covers the session.

    What comes before the session's 03:30 does not; from a failure on, the next try is what counts.
    """
    situation = look.situation
    if situation.failures and situation.retry_at is not None and look.is_backing_off:
        return situation.retry_at
    _, at = first_due(look)
    return max(at, last_occurrence(session.opens, CUT) + GRACE_AFTER_CUT)


def _of_the_person(look: Look, session: Session) -> _Verdict:
    asked_at = _first_asked_at(look, session)
    if look.now >= asked_at:
        return Level.WARNING, f"needs you now: {_deed_now(look)}"
    deed = "an approval on the phone, or a login" if look.situation.can_ask_phone else "a login"
    notice = "you will be asked"
    if not is_any_configured(look.settings):
        whom = "Upstox will ask, else" if look.situation.can_ask_phone else "only"
        notice = f"{whom} the log will say so, as no channel for notices is set"
    return Level.OK, f"needs you at {asked_at.astimezone(IST):%H:%M} IST: {deed}; {notice}"


def _deed_now(look: Look) -> str:
    asked = look.state.approval
    if asked is not None and is_outstanding(look):
        at = f"{asked.asked_at.astimezone(IST):%H:%M}"
        return f"approve the request of {at} on the phone, or log in (python init_tokens.py)"
    return "log in (python init_tokens.py)"


def _first_asked_at(look: Look, session: Session) -> datetime:
    """Return when the person is first addressed for a session."""
    return stages_of(session, look.rules.approval_time)[0].due_at
