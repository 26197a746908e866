"""May a new token be stored, and what then changes in `.env` and state: pure decisions."""

import re
from dataclasses import replace
from datetime import datetime

from broker_tokens.clock import format_ist, ist_date
from broker_tokens.errors import TokenRejected
from broker_tokens.expiry import SAME_END, next_cut, subject_claim
from broker_tokens.look import Look
from broker_tokens.model import Renewal, State, TokenReply, Way
from broker_tokens.store import (
    ACCESS_TOKEN,
    EXPIRES_AT,
    EXTENDED_TOKEN,
    REFRESH_TOKEN,
    USER_ID,
    format_expiry,
)

# Upstox's are such as 4HCYNF; with another one, `.env` might refuse the token too: it is not kept.
_USER_ID = re.compile(r"[A-Za-z0-9]+")


def updates_for(look: Look, reply: TokenReply, way: Way) -> tuple[dict[str, str], State]:
    """Return the `.env` keys to write and the new state.

    Raises TokenRejected for another account's token, and for one from outside (a paste, the phone)
    that a longer-lived one would give way to. A reply of the token endpoint that is outlived still
    has its refresh token kept, as the old one may be spent.
    """
    user_id = _account(look, reply)
    outlived = _is_outlived(look, reply)
    if outlived and way in (Way.PASTE, Way.PHONE_APPROVAL):
        raise TokenRejected(
            "A token that lives longer is stored already"
            f" (until {format_ist(look.tokens.expires_at or look.now)}).",
            "Nothing needs to be done; to replace it all the same, empty access_token first.",
        )
    updates = _other_keys(look, reply, user_id)
    kept = look.tokens.expires_at if outlived else None
    state = after_success(look, way, kept or reply.expires_at)
    if way is Way.PHONE_APPROVAL and state.approval is not None:
        # Kept all the same: a crash before the token is in `.env` must not ask the phone again.
        answered = replace(state.approval, answered=reply.access_token.fingerprint)
        state = replace(state, approval=answered)
    if not outlived:
        updates[ACCESS_TOKEN] = reply.access_token.reveal()
        updates[EXPIRES_AT] = format_expiry(reply.expires_at)
        state = state.with_written(reply.access_token, reply.expires_at)
    # A broker may give the same string again; what it gives now, it no longer refuses.
    given = (reply.access_token, reply.refresh_token)
    state = state.without_refused(*(secret.fingerprint for secret in given if secret is not None))
    return updates, state


def _account(look: Look, reply: TokenReply) -> str | None:
    """Return whose token it is, as far as it tells; raise TokenRejected if not ours."""
    found = reply.user_id or subject_claim(reply.access_token)
    pinned = look.tokens.user_id
    if pinned is not None and found is not None and found != pinned:
        raise TokenRejected(
            f"The new token belongs to account {found}, but this .env is kept for {pinned}.",
            f"Log in as {pinned}; to change the account for good, empty UPSTOX_USER_ID first.",
        )
    return found


def _is_outlived(look: Look, reply: TokenReply) -> bool:
    """Whether the stored token is live and ends clearly later than the new one.

    One that lives beyond the next 03:30 is no match for a trading token: it is a read-only one of a
    year, pasted by mistake.
    """
    stored = look.tokens.expires_at
    return (
        stored is not None
        and look.now < stored <= next_cut(look.now)
        and stored - reply.expires_at >= SAME_END
    )


def _other_keys(look: Look, reply: TokenReply, user_id: str | None) -> dict[str, str]:
    updates: dict[str, str] = {}
    if reply.refresh_token is not None:
        updates[REFRESH_TOKEN] = reply.refresh_token.reveal()
    if reply.extended_token is not None:
        updates[EXTENDED_TOKEN] = reply.extended_token.reveal()
    if look.tokens.user_id is None and user_id is not None and _USER_ID.fullmatch(user_id):
        updates[USER_ID] = user_id
    return updates


def after_success(look: Look, way: Way, expires_at: datetime) -> State:
    """Return the state once a token is there that lives until `expires_at`: nothing to wait for.

    What the person was told is forgotten only if the token covers the session they were told about:
    else one that ends in its midst would have them told all over again.
    """
    session = look.rules.calendar.session_on(ist_date(look.now))
    is_covered = session is None or expires_at >= session.closes
    return replace(
        look.state.without_refused(look.settings.credentials_fingerprint),
        failures=0,
        retry_at=None,
        told=None if is_covered else look.state.told,
        last_renewal=Renewal(look.now, way),
    )
