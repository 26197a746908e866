"""Events as log lines that a person can read at 09:05 on a bad day."""

import logging

from broker_tokens.clock import IST, format_duration, format_ist
from broker_tokens.model import (
    AppRefused,
    ApprovalAsked,
    Event,
    PersonNeeded,
    RenewalFailed,
    Stage,
    TokenDied,
    TokenStored,
    Way,
)

log = logging.getLogger(__name__)

_WAYS = {
    Way.REFRESH_GRANT: "renewed silently with the refresh token",
    Way.PHONE_APPROVAL: "approved on the phone",
    Way.BROWSER_LOGIN: "logged in",
    Way.PASTE: "pasted by hand",
    Way.FOUND: "found in .env",
}


def log_event(event: Event) -> None:
    """Write one event to the log; made to be an observer of the service."""
    match event:
        case TokenStored():
            log.info(
                "New token, %s: lives until %s, for %s (fingerprint %s).",
                _WAYS[event.way],
                format_ist(event.expires_at),
                format_duration(event.expires_at - event.at),
                event.fingerprint,
            )
        case ApprovalAsked():
            _log_asked(event)
        case PersonNeeded():
            _log_need(event)
        case AppRefused():
            log.error("%s", event.sentence)
        case RenewalFailed():
            when = f" Next try: {format_ist(event.retry_at)}." if event.retry_at else ""
            log.warning("%s%s", event.sentence, when)
        case TokenDied():
            log.warning("The broker refuses the stored token (fingerprint %s).", event.fingerprint)


def _log_asked(event: ApprovalAsked) -> None:
    until = format_ist(event.expires_at)
    if event.goes_elsewhere:
        log.error(
            "Approval on the phone was asked for, but Upstox will send the token to %s, not to this"
            " service. Register the address that `upstox-token notifier` prints.",
            event.goes_elsewhere,
        )
    elif event.is_certain:
        log.warning("Approval was asked for: approve it on your phone (open until %s).", until)
    else:
        log.warning(
            "Approval was asked for, but Upstox's reply got lost. If nothing shows on the phone:"
            " `upstox-token renew --phone`, or log in."
        )


def _log_need(event: PersonNeeded) -> None:
    how = f"Run `python init_tokens.py`{event.login_url and f', or open {event.login_url}'}"
    if event.asked_at is not None:
        how = (
            f"Approve the request of {event.asked_at.astimezone(IST):%H:%M} on the phone. Or: {how}"
        )
    opens = f"{format_ist(event.session_opens)}"
    if event.stage is Stage.ALARM:
        log.error("ALARM: the session is open and there is no token for today. %s", how)
    elif event.at >= event.session_opens:
        log.error("Still no token for today's session, open since %s. %s", opens, how)
    else:
        left = format_duration(event.session_opens - event.at)
        log.warning("A login is needed: the session opens at %s, in %s. %s", opens, left, how)
