"""What comes next, in words: the plan walked forward in time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from broker_tokens.clock import format_duration, format_ist
from broker_tokens.look import Look
from broker_tokens.model import Way
from broker_tokens.policy import (
    AskApproval,
    Decision,
    FindOut,
    RenewSilently,
    TellPerson,
    Wait,
    decide,
)

# Far beyond the longest row of waits between two things that happen.
_MOST_WAITS = 60

_WORDS = {
    FindOut: "ask the broker whether the stored token lives",
    RenewSilently: "renew silently with the refresh token",
    AskApproval: "ask for approval on your phone",
    TellPerson: "ask for a login",
    Wait: "look again",
}


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the service will do next by itself, and when (aware)."""

    what: str
    at: datetime

    def sentence(self, now: datetime) -> str:
        """Return it as a line for people."""
        ahead = self.at - now
        when = f"{format_ist(self.at)}, in {format_duration(ahead)}" if ahead else "now"
        return f"Next: {self.what} ({when})."


def next_step(look: Look) -> NextStep:
    """Return the first thing that becomes due if nothing else changes, in words."""
    decision, at = first_due(look)
    return NextStep(_WORDS[type(decision)], at)


def first_due(look: Look) -> tuple[Decision, datetime]:
    """Return the first thing that becomes due if nothing else changes, and when (aware)."""
    at = look.now
    for _ in range(_MOST_WAITS):
        decision = decide(at, look.situation, look.rules)
        if not isinstance(decision, Wait):
            break
        at = max(decision.until, at + timedelta(seconds=1))
    return decision, at


def standing(look: Look) -> str:
    """Say in one line how things stand and what comes next.

    No time in it is relative: the line stays where it is shown until there is news.
    """
    expires_at, step = look.situation.expires_at, next_step(look)
    lines = ["No live token is stored."]
    if expires_at is not None and look.situation.is_live(look.now):
        lines = [f"The token lives until {format_ist(expires_at)}."]
    if look.is_backing_off and look.state.last_failure is not None:
        lines.append(f"The last try failed: {look.state.last_failure.what}")
    when = format_ist(step.at) if step.at > look.now else "now"
    return " ".join([*lines, f"Next: {step.what} ({when})."])


def renewal_sentence(look: Look) -> str:
    """Say how the next token will come: silently, or by a person's login."""
    if look.situation.is_silent:
        return (
            "The next token comes silently, with the refresh token, while the service runs; if"
            " Upstox refuses that, you will be asked to log in."
        )
    at, opens = look.rules.approval_time, look.settings.hours.opens
    what, deed = "a login", "log in"
    if look.situation.can_ask_phone:
        what, deed = "an approval on the phone, or a login,", "approve or log in"
    return (
        f"The next token needs {what} by you: every Upstox token ends at 03:30 IST and"
        f" {_why_not_silently(look)}. The service asks for it at {at:%H:%M} IST on trading days;"
        f" {deed} between 03:30 and {opens:%H:%M} and the whole day is covered."
    )


def _why_not_silently(look: Look) -> str:
    if look.tokens.refresh_token is None:
        return "no refresh token is stored"
    if Way.REFRESH_GRANT not in look.settings.ways:
        return "UPSTOX_RENEWAL leaves refresh_grant out"
    if not look.settings.has_credentials:
        return "the client ID or secret is missing"
    return "Upstox has refused the stored refresh token, or this app's credentials"
