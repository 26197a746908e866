"""The last word of a report: whether the next session is safe."""

from collections.abc import Sequence

from broker_tokens.clock import format_ist
from broker_tokens.doctor.case import Case
from broker_tokens.doctor.finding import Finding, Level
from broker_tokens.expiry import is_read_only, next_cut


def outlook(case: Case, findings: Sequence[Finding]) -> str:
    """Return one sentence on the first session after the coming 03:30.

    A feed that this plan does not include endangers no token.
    """
    look = case.look
    session = look.rules.calendar.coming_session(next_cut(look.now))
    when = f"The session of {format_ist(session.opens)}"
    if any(each.level is Level.FAIL and each.topic != "feed" for each in findings):
        return f"{when} is not safe: mend what has failed first."
    token = look.tokens.access_token
    if token is not None and look.situation.covers(session):
        limits = ", for reading only" if is_read_only(token) else ""
        return f"{when} is covered by the stored token{limits}."
    if not _is_looked_after(case):
        return f"{when} is not safe: no service looks after this .env."
    if look.situation.is_silent:
        return f"{when} is safe: the token comes silently, unless Upstox refuses."
    deed = "approve on the phone, or log in," if look.situation.can_ask_phone else "log in"
    at, opens = look.rules.approval_time, session.opens
    return (
        f"{when} needs you: {deed} between 03:30 and {opens:%H:%M} IST of that day; you are asked"
        f" at {at:%H:%M}."
    )


def _is_looked_after(case: Case) -> bool:
    if case.env_path is None:
        return False
    is_installed = any(each.is_active is not False for each in case.schedulers)
    return is_installed or case.attendance.is_watched(case.look.now)
