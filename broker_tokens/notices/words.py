"""What a person is told, in words that say what to do; never a secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker_tokens.clock import IST, format_duration, format_ist
from broker_tokens.model import (
    AppRefused,
    ApprovalAsked,
    Event,
    PersonNeeded,
    Stage,
    TokenDied,
    TokenStored,
    Way,
)

_APPROVE = (
    "Approve it in the Upstox app, in WhatsApp, or at https://account.upstox.com/developer/apps"
)
_WAYS = {
    Way.REFRESH_GRANT: "renewed silently",
    Way.PHONE_APPROVAL: "approved on the phone",
    Way.BROWSER_LOGIN: "by your login",
    Way.PASTE: "pasted by hand",
    Way.FOUND: "found in .env",
}


class Kind(StrEnum):
    """What a notice is about; a command of the user's own can tell by it."""

    ASKED = "asked"
    LOGIN = "login"
    REMINDER = "reminder"
    ALARM = "alarm"
    STILL_NONE = "still_none"
    NEW_TOKEN = "new_token"  # noqa: S105 -- the kind's name
    REFUSED = "refused"
    DIED = "died"
    UNIT_FAILED = "unit_failed"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. `key` names the stage or thing that is told of, once a day."""

    kind: Kind
    key: str
    title: str
    body: str
    is_silent_news: bool = False  # good news of a renewal that nobody had to wait for


def notice_of(event: Event) -> Notice | None:
    """Return what to tell of an event, None if it is nobody's business."""
    match event:
        case ApprovalAsked():
            return _asked(event)
        case PersonNeeded():
            return _needed(event)
        case TokenStored():
            return Notice(
                Kind.NEW_TOKEN,
                f"token-{event.fingerprint}",
                "Upstox: a new token is there",
                f"It came {_WAYS[event.way]} and lives until {format_ist(event.expires_at)}."
                " Nothing needs to be done.",
                is_silent_news=event.way is Way.REFRESH_GRANT,
            )
        case AppRefused(is_urgent=True):
            return Notice(Kind.REFUSED, "refused", "Upstox refuses the app", event.sentence)
        case TokenDied():
            return Notice(
                Kind.DIED,
                f"died-{event.fingerprint}",
                "Upstox: the token died early",
                "Upstox refuses it before its time: a logout, a changed static IP or a recreated"
                " app does that. The service looks for another by itself; if only you can help, it"
                " asks next.",
            )
        case _:
            return None


def _asked(event: ApprovalAsked) -> Notice:
    asked = f"Upstox was asked at {_hour(event.at)}; the request is open until"
    words = f"{asked} {format_ist(event.expires_at)}. {_APPROVE}."
    if not event.is_certain:
        words = (
            f"Upstox was asked at {_hour(event.at)}, but its answer got lost. If a request shows on"
            f" the phone: {_APPROVE}. If none does: upstox-token renew --phone"
        )
    if event.goes_elsewhere:
        words += (
            f"\nBut Upstox will send the token to {event.goes_elsewhere}, not to this service:"
            " register the address that `upstox-token notifier` prints."
        )
    # With its hour: a token that dies early has the phone asked once more.
    key = f"asked-{event.at.astimezone(IST):%H%M}"
    title = "Upstox: approve today's token on the phone"
    return Notice(Kind.ASKED, key, title, "\n".join([words, _opening(event), *_or_log_in(event)]))


def _needed(event: PersonNeeded) -> Notice:
    kind, title = _KINDS[event.stage]
    if event.stage is Stage.REMIND and event.at >= event.session_opens:
        kind, title = Kind.STILL_NONE, "Upstox: still no token for today"
    lines = [_opening(event)]
    if event.asked_at is not None:
        lines.append(f"Approve the request of {_hour(event.asked_at)} on the phone. {_APPROVE}.")
        lines.append("If it is not there: upstox-token renew --phone")
    key = f"{event.stage}-{event.due_at.astimezone(IST):%H%M}"
    return Notice(kind, key, title, "\n".join([*lines, *_or_log_in(event)]))


_KINDS = {
    Stage.ASK: (Kind.LOGIN, "Upstox: log in for today's token"),
    Stage.REMIND: (Kind.REMINDER, "Upstox: no token yet for today"),
    Stage.ALARM: (Kind.ALARM, "ALARM: no Upstox token, and the session is open"),
}


def _opening(event: ApprovalAsked | PersonNeeded) -> str:
    if event.at >= event.session_opens:
        return f"The session has been open since {_hour(event.session_opens)} without a token."
    left = format_duration(event.session_opens - event.at)
    return f"The session opens at {_hour(event.session_opens)}, in {left}."


def _or_log_in(event: ApprovalAsked | PersonNeeded) -> list[str]:
    if event.login_url:
        return [f"Log in: {event.login_url}", "Or at a keyboard: python init_tokens.py"]
    return ["Log in at a keyboard: python init_tokens.py"]


def _hour(instant: datetime) -> str:
    return f"{instant.astimezone(IST):%H:%M} IST"


# What the key of a notice about the service itself begins with.
UNIT_KEY = "unit-"


def unit_failed(unit: str, environ: Mapping[str, str]) -> Notice | None:
    """Return what to tell of a systemd unit that has ended, None if it ended as it should.

    How it ended is in `environ`: in that of OnFailure='s unit (MONITOR_..., systemd.exec(5)), or in
    that of ExecStopPost=. Older versions of systemd say nothing.
    """
    result, code, status = (
        environ.get(f"MONITOR_{name}") or environ.get(name, "")
        for name in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS")
    )
    if result == "success":
        return None
    is_exit = result == "exit-code" or code == "exited"
    what = _EXITS.get(status, "It failed") if is_exit else _RESULTS.get(result, "It failed")
    detail = f" (exit code {status})" if is_exit else f" (signal {status})" if status else ""
    is_final = is_exit and status in _FINAL
    next_ = "That does not get better by itself." if is_final else "systemd starts it again."
    log = f"journalctl {'--user ' if environ.get('MANAGERPID') else ''}-u {unit} -n 50"
    return Notice(
        Kind.UNIT_FAILED,
        f"{UNIT_KEY}{unit}-{result}-{status}",
        "Upstox: the token service has failed",
        f"{unit}: {what}{detail}. {next_}\nWhy: {log}",
    )


# Exit codes after which the units in deploy/ are not started again.
_FINAL = ("2", "77", "78")

_EXITS = {
    "1": "It met a defect of its own",
    "2": "Its command line is wrong",
    "75": "It could not do its work for now, or another service runs on this .env",
    "77": "It needs a login: python init_tokens.py",
    "78": "Its configuration is wrong",
    # systemd's own, for what it could not do before the program began (systemd.exec(5)).
    "203": "The interpreter of its virtual environment is not there, or cannot be run",
    "200": "Its WorkingDirectory= is not there",
    "217": "Its User= does not exist",
    "243": "A file of LoadCredential= cannot be read",
}

_RESULTS = {
    "watchdog": "It hung and was ended by the watchdog",
    "timeout": "It did not start, or stop, in time",
    "signal": "It was killed",
    "core-dump": "It crashed",
    "oom-kill": "It was killed because the memory was used up",
    "start-limit-hit": "It failed too often in a row",
    "resources": "systemd lacks what it takes to start it",
}
