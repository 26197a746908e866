"""What `upstox-token status` shows: read from the files, with no request to the broker."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker_tokens.attendance import Attendance
from broker_tokens.clock import IST, format_duration, format_ist
from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_OK, EXIT_PERSON, EXIT_TEMPORARY
from broker_tokens.forecast import next_step
from broker_tokens.look import Look
from broker_tokens.model import Approval, Failure
from broker_tokens.outlook import lacks_credentials, outlook
from broker_tokens.policy import Life

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown: what the files say, and who looks after them.

    `schedulers` are those installed for this `.env`, in words; None if nobody has searched.
    """

    look: Look
    attendance: Attendance
    schedulers: Sequence[str] | None = None


def state_of(look: Look) -> str:
    """Return the token's state in one word: `live`, `expired`, `unchecked` or `missing`."""
    if look.situation.life is Life.UNKNOWN:
        return "unchecked"
    if look.situation.life is Life.NONE:
        return "missing"
    return "live" if look.situation.is_live(look.now) else "expired"


def exit_code(report: Report) -> int:
    """Return 0 while a token is live, else the code of what stands in the way."""
    look = report.look
    if look.situation.is_live(look.now):
        return EXIT_OK
    is_refused = look.state.has_refused(look.settings.credentials_fingerprint)
    if is_refused or lacks_credentials(look, report.attendance):
        return EXIT_CONFIGURATION
    time_helps = look.situation.is_silent or look.is_backing_off
    return EXIT_TEMPORARY if time_helps or look.situation.life is Life.UNKNOWN else EXIT_PERSON


def as_text(report: Report) -> str:
    """Return the status for people."""
    look = report.look
    lines = [
        f"state:         {state_of(look)}",
        f"next session:  {outlook(look, report.attendance).sentence.removeprefix('Session of ')}",
        f"file:          {look.env_path}",
        f"account:       {look.tokens.user_id or '-'}",
        *_token_lines(report),
        *_history_lines(look),
        f"next step:     {_next_words(look)}",
        f"looked after:  {_attendance_words(report)}",
    ]
    if report.schedulers is not None:
        lines.append(f"scheduler:     {'; '.join(report.schedulers) or 'none'}")
    return "\n".join(lines)


def _token_lines(report: Report) -> list[str]:
    look, lines = report.look, []
    expires_at = look.situation.expires_at
    if expires_at is not None:
        words = f"in {format_duration(expires_at - look.now)}" if expires_at > look.now else "past"
        lines.append(f"expires:       {format_ist(expires_at)} ({words})")
    if look.tokens.access_token is not None:
        lines.append(f"fingerprint:   {look.tokens.access_token.fingerprint}")
    lines.append(f"refresh token: {'stored' if look.tokens.refresh_token else 'none'}")
    if lacks_credentials(look, report.attendance):
        lines.append("configuration: Client ID/Secret not found, so nobody can log in or renew")
    elif not look.settings.has_credentials:
        lines.append("configuration: Client ID/Secret not found here; what looks after it has them")
    return lines


def _history_lines(look: Look) -> list[str]:
    lines, state = [], look.state
    if (renewal := state.last_renewal) is not None:
        lines.append(f"last renewal:  {format_ist(renewal.at)} ({renewal.way})")
    if (failure := state.last_failure) is not None:
        lines.append(f"last failure:  {format_ist(failure.at)}: {failure.what}")
    if (asked := state.approval) is not None:
        lines.append(f"approval:      {_approval_words(asked)}")
    if (command := state.command_failure) is not None:
        lines.append(f"on renew:      {format_ist(command.at)}: {command.what}")
    return lines


def _next_words(look: Look) -> str:
    step = next_step(look)
    ahead = f"in {format_duration(step.at - look.now)}" if step.at > look.now else "due now"
    return f"{step.what}, {format_ist(step.at)} ({ahead})"


def _attendance_words(report: Report) -> str:
    seen, now = report.attendance, report.look.now
    ago = seen.last_look and f"last look {format_duration(now - seen.last_look)} ago"
    if seen.is_running:
        where = f", listens at {seen.listens_at}" if seen.listens_at else ""
        hangs = "" if seen.is_watched(now) else ": it hangs"
        return f"by a service (pid {seen.pid or 'unknown'}){where}, {ago or 'no look yet'}{hangs}"
    if seen.is_watched(now):
        return f"by --once, {ago}"
    return f"by nobody, {ago}" if ago else "by nobody"


def _approval_words(asked: Approval) -> str:
    """Return what became of the last request for approval, as far as anybody knows."""
    at = f"asked for at {format_ist(asked.asked_at)}"
    if asked.refusal:
        return f"{at}, refused: {asked.refusal}"
    if asked.retry_at is not None:
        return f"{at} and failed; next try {format_ist(asked.retry_at)}"
    if asked.answered:
        return f"{at}, answered"
    until = asked.expires_at
    return f"{at}, open until {format_ist(until)}" if until else f"{at}, outcome unknown"


def as_json(report: Report) -> str:
    """Return the status for programs, in format 1."""
    return json.dumps(
        {"format": FORMAT, "broker": "upstox", **_of_look(report.look), **_of_watch(report)},
        indent=2,
    )


def _of_look(look: Look) -> dict[str, Any]:
    expires_at, renewal, step = look.situation.expires_at, look.state.last_renewal, next_step(look)
    asked = look.state.approval
    left = None if expires_at is None else max(0, int((expires_at - look.now).total_seconds()))
    return {
        "account": look.tokens.user_id,
        "state": state_of(look),
        "expires_at": _iso(expires_at),
        "expires_in_seconds": left,
        "last_renewal": renewal and {"at": _iso(renewal.at), "way": renewal.way},
        "next_step": {"what": step.what, "at": _iso(step.at)},
        "last_approval": asked
        and {
            "asked_at": _iso(asked.asked_at),
            "expires_at": _iso(asked.expires_at),
            "refusal": asked.refusal or None,
        },
        "on_renew_failure": _failure(look.state.command_failure),
        "last_failure": _failure(look.state.last_failure),
    }


def _of_watch(report: Report) -> dict[str, Any]:
    look, seen = report.look, report.attendance
    ahead, session = outlook(look, seen), look.rules.calendar.coming_session(look.now)
    return {
        "coming_session": {
            "opens_at": _iso(session.opens),
            "closes_at": _iso(session.closes),
            "is_covered": look.situation.covers(session),
        },
        "outlook": {"level": ahead.level, "sentence": ahead.sentence},
        "attendance": {
            "is_watched": seen.is_watched(look.now),
            "pid": seen.pid or None,
            "listens_at": seen.listens_at or None,
            "last_look": _iso(seen.last_look),
        },
        "schedulers": None if report.schedulers is None else list(report.schedulers),
    }


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    return None if failure is None else {"at": _iso(failure.at), "what": failure.what}


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(IST).isoformat()
