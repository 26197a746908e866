"""What `upstox-token status` shows: read from the files, with no request to the broker."""

import json

from broker_tokens.clock import IST, format_duration, format_ist
from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_OK, EXIT_PERSON, EXIT_TEMPORARY
from broker_tokens.forecast import next_step
from broker_tokens.look import Look
from broker_tokens.model import Approval
from broker_tokens.policy import Life

FORMAT = 1


def state_of(look: Look) -> str:
    """Return the token's state in one word: `live`, `expired`, `unchecked` or `missing`."""
    if look.situation.life is Life.UNKNOWN:
        return "unchecked"
    if look.situation.life is Life.NONE:
        return "missing"
    return "live" if look.situation.is_live(look.now) else "expired"


def exit_code(look: Look) -> int:
    """Return 0 while a token is live, else the code of what stands in the way."""
    if look.situation.is_live(look.now):
        return EXIT_OK
    is_refused = look.state.has_refused(look.settings.credentials_fingerprint)
    if is_refused or not look.settings.has_credentials:
        return EXIT_CONFIGURATION
    time_helps = look.situation.is_silent or look.is_backing_off
    return EXIT_TEMPORARY if time_helps or look.situation.life is Life.UNKNOWN else EXIT_PERSON


def as_text(look: Look) -> str:
    """Return the status for people."""
    lines = [f"state:         {state_of(look)}", f"account:       {look.tokens.user_id or '-'}"]
    expires_at = look.situation.expires_at
    if expires_at is not None:
        left = expires_at - look.now
        words = f"in {format_duration(left)}" if expires_at > look.now else "past"
        lines.append(f"expires:       {format_ist(expires_at)} ({words})")
    if look.tokens.access_token is not None:
        lines.append(f"fingerprint:   {look.tokens.access_token.fingerprint}")
    lines.append(f"refresh token: {'stored' if look.tokens.refresh_token else 'none'}")
    if not look.settings.has_credentials:
        lines.append("configuration: Client ID/Secret not found, so nobody can log in or renew")
    renewal, failure = look.state.last_renewal, look.state.last_failure
    if renewal is not None:
        lines.append(f"last renewal:  {format_ist(renewal.at)} ({renewal.way})")
    if failure is not None:
        lines.append(f"last failure:  {format_ist(failure.at)}: {failure.what}")
    if (asked := look.state.approval) is not None:
        lines.append(f"approval:      {_approval_words(asked)}")
    if (command := look.state.command_failure) is not None:
        lines.append(f"on renew:      {format_ist(command.at)}: {command.what}")
    step = next_step(look)
    ahead = f"in {format_duration(step.at - look.now)}" if step.at > look.now else "due now"
    lines.append(f"next step:     {step.what}, {format_ist(step.at)} ({ahead})")
    return "\n".join(lines)


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


def as_json(look: Look) -> str:
    """Return the status for programs, in format 1."""
    expires_at = look.situation.expires_at
    renewal, failure, step = look.state.last_renewal, look.state.last_failure, next_step(look)
    asked, command = look.state.approval, look.state.command_failure
    left = None if expires_at is None else max(0, int((expires_at - look.now).total_seconds()))
    return json.dumps(
        {
            "format": FORMAT,
            "broker": "upstox",
            "account": look.tokens.user_id,
            "state": state_of(look),
            "expires_at": None if expires_at is None else expires_at.astimezone(IST).isoformat(),
            "expires_in_seconds": left,
            "last_renewal": renewal
            and {"at": renewal.at.astimezone(IST).isoformat(), "way": renewal.way},
            "next_step": {"what": step.what, "at": step.at.astimezone(IST).isoformat()},
            "last_approval": asked
            and {
                "asked_at": asked.asked_at.astimezone(IST).isoformat(),
                "expires_at": asked.expires_at and asked.expires_at.astimezone(IST).isoformat(),
                "refusal": asked.refusal or None,
            },
            "on_renew_failure": command
            and {"at": command.at.astimezone(IST).isoformat(), "what": command.what},
            "last_failure": failure
            and {"at": failure.at.astimezone(IST).isoformat(), "what": failure.what},
        },
        indent=2,
    )
