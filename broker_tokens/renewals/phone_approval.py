"""Approval on the phone: the broker asks the person there, and sends the token to our notifier.

What comes to that address is unsigned (Upstox docs, Notifier Webhook), so it is a claim until the
broker itself has taken the token. There is no way to ask what became of a request.
"""

import hmac
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from broker_tokens.backoff import LONGEST_RETRY_AFTER, retry_delay
from broker_tokens.brokers import ApprovalNotOffered, ApprovalReply, Broker, OutcomeUnknown
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenError, TokenRejected
from broker_tokens.expiry import is_same_day, issue_claim, next_cut, subject_claim
from broker_tokens.look import Look
from broker_tokens.model import Approval, Failure
from broker_tokens.policy import longest_retry
from broker_tokens.renewals.setbacks import Jitter, record
from broker_tokens.secrets import Secret
from broker_tokens.setting_values import LOOPBACK_HOSTS
from broker_tokens.store import Writer

NOTIFIER_PATH = "/notifier/"

# A JWT of Upstox has about 400 characters; web servers refuse headers beyond 8 KB.
_TOKEN = re.compile(r"[!-~]{1,8000}")
_EPOCH_MILLISECONDS = re.compile(r"[0-9]{13}")
_BASE = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[a-z0-9._~/-]*)?",
    re.IGNORECASE,
)
_ADVICE = "Nothing needs to be done; it was not stored."


@dataclass(frozen=True, slots=True)
class Delivery:
    """A token as it came to the notifier, its shape checked and nothing more."""

    token: Secret
    client_id: str
    user_id: str
    issued_at: datetime
    expires_at: datetime


def ask(writer: Writer, look: Look, jitter: Jitter) -> ApprovalReply:
    """Have the broker ask the phone, and note it.

    The note is on disk before the request leaves, so that a crash cannot make the phone ring twice.
    Raises OutcomeUnknown when the reply is lost, which leaves the request noted as outstanding;
    TemporaryFailure with the next try noted; any other TokenError with the refusal noted.
    """
    writer.prove_writable()
    before, asked = look.state, Approval(look.now)
    # If this request fails, the one before it may still be answered.
    standing = before.approval if is_outstanding(look) else None
    writer.save_state(replace(before, approval=asked))
    try:
        reply = look.broker.request_approval()
    except OutcomeUnknown:
        raise
    except TokenError as error:
        if _is_about_credentials(error):
            record(writer, replace(look, state=replace(before, approval=standing)), error, jitter)
        else:
            failed = replace(before, approval=standing or _failed(look, error, jitter))
            writer.save_state(replace(failed, last_failure=Failure(look.now, str(error))))
        raise
    writer.save_state(replace(before, approval=replace(asked, expires_at=reply.expires_at)))
    return reply


def _is_about_credentials(error: TokenError) -> bool:
    return isinstance(error, ConfigurationError) and not isinstance(error, ApprovalNotOffered)


def _failed(look: Look, error: TokenError, jitter: Jitter) -> Approval:
    """Return the note of a request that was not taken: to be tried again, or not today."""
    if not isinstance(error, TemporaryFailure):
        return Approval(look.now, refusal=str(error))
    earlier = look.state.approval
    is_retry = earlier is not None and is_same_day(earlier.asked_at, look.now)
    tries = earlier.tries + 1 if earlier is not None and is_retry else 1
    delay = retry_delay(tries, jitter(), longest_retry(look.now, look.rules))
    if error.retry_after is not None:
        delay = max(delay, min(error.retry_after, LONGEST_RETRY_AFTER))
    return Approval(look.now, retry_at=look.now + delay, tries=tries)


def goes_elsewhere(reply: ApprovalReply, secret: Secret | None) -> str:
    """Return the host the broker will send the token to if that is not our address, else ""."""
    parts = urlsplit(reply.notifier_url)
    ours = f"{NOTIFIER_PATH}{secret.reveal() if secret else ''}"
    theirs = parts.path[-len(ours) :]  # a proxy may have its own folder before it
    is_ours = hmac.compare_digest(theirs.encode("utf-8", "replace"), ours.encode())
    return "" if is_ours or not reply.notifier_url else parts.hostname or "an unknown address"


def public_base(url: str, api_url: str) -> str:
    """Return `url`, the address under which the broker reaches the service, without a last slash.

    Raises ConfigurationError unless it is https and not this machine itself, as Upstox delivers
    over the internet. A simulator on this machine, which `api_url` tells, may deliver anywhere.
    """
    match = _BASE.fullmatch(url)
    is_reachable = match is not None and (
        urlsplit(api_url).hostname in LOOPBACK_HOSTS
        or (match["scheme"].lower() == "https" and _is_public(match["host"]))
    )
    if not is_reachable:
        raise ConfigurationError(
            f"Upstox cannot reach {match['host'] if match else 'such an address'} over https.",
            "Name the public address that leads to the service:"
            " upstox-token notifier --url https://trader.example.com",
        )
    return url.rstrip("/")


def _is_public(host: str) -> bool:
    """Whether a host can be met from the internet, as far as its name tells."""
    try:
        return ip_address(host.strip("[]")).is_global
    except ValueError:
        return host.lower().rstrip(".") not in LOOPBACK_HOSTS


def read_delivery(body: bytes) -> Delivery:
    """Return what a webhook's body says; raises ValueError with a word on what is wrong.

    The fields are those of Upstox's docs, Notifier Webhook; unknown ones are ignored.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError("not JSON")
    if content.get("message_type") != "access_token" or content.get("token_type") != "Bearer":
        raise ValueError("another kind of message")
    token = _text(content, "access_token")
    # Before it is a Secret: every log line is searched for each of those, whatever they hold.
    if not _TOKEN.fullmatch(token):
        raise ValueError("no token")
    return Delivery(
        token=Secret(token),
        client_id=_text(content, "client_id"),
        user_id=_text(content, "user_id"),
        issued_at=_instant(content, "issued_at"),
        expires_at=_instant(content, "expires_at"),
    )


def _text(content: dict[str, object], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"no {key}")
    return value


def _instant(content: dict[str, object], key: str) -> datetime:
    value = content.get(key)
    if not isinstance(value, str | int) or not _EPOCH_MILLISECONDS.fullmatch(str(value)):
        raise ValueError(f"no {key}")
    return datetime.fromtimestamp(int(value) / 1000, UTC)


def check(delivery: Delivery, look: Look) -> None:
    """Check a delivery without asking the broker; raises TokenRejected."""
    wanted = look.settings.client_id
    if not hmac.compare_digest(delivery.client_id.encode("utf-8", "replace"), wanted.encode()):
        raise TokenRejected("A token for another app was delivered.", _ADVICE)
    if not look.now < delivery.expires_at <= next_cut(look.now):
        raise TokenRejected("A token was delivered that is over, or too good to be true.", _ADVICE)
    claimed = subject_claim(delivery.token)
    if claimed is not None and claimed != delivery.user_id:
        raise TokenRejected("A token was delivered under another account's name.", _ADVICE)
    pinned = look.tokens.user_id
    if pinned is None and not (is_outstanding(look) or _is_the_answer(delivery, look)):
        raise TokenRejected(
            "A token was delivered that nobody asked for, and no account is known yet.",
            "Log in once first: python init_tokens.py",
        )
    if pinned is not None and pinned != delivery.user_id:
        raise TokenRejected("A token of another account was delivered.", _ADVICE)
    if look.state.has_refused(delivery.token.fingerprint):
        raise TokenRejected("A token was delivered that the broker has refused.", _ADVICE)
    if _is_older(delivery, look):
        raise TokenRejected("A token was delivered that is older than the stored one.", _ADVICE)


def is_outstanding(look: Look) -> bool:
    """Whether approval has been asked for on the broker's present day, and not come yet."""
    asked = look.state.approval
    return (
        asked is not None
        and not asked.refusal
        and not asked.answered
        and asked.retry_at is None
        and is_same_day(asked.asked_at, look.now)
    )


def _is_the_answer(delivery: Delivery, look: Look) -> bool:
    """Whether this token was about to be stored already, and then was not: a full disk, a crash."""
    asked = look.state.approval
    return asked is not None and asked.answered == delivery.token.fingerprint


def _is_older(delivery: Delivery, look: Look) -> bool:
    """Whether the stored token lives and was issued after the delivered one."""
    stored, renewal = look.tokens.access_token, look.state.last_renewal
    if stored is None or stored == delivery.token or not look.situation.is_live(look.now):
        return False
    stored_at = issue_claim(stored) or (renewal.at if renewal else None)
    delivered_at = issue_claim(delivery.token) or delivery.issued_at
    return stored_at is not None and delivered_at < stored_at


def owner(delivery: Delivery, broker: Broker) -> str:
    """Return whose token it is, by its own claim now that the broker has taken it, else by profile.

    Raises TokenRejected if that is not whom the delivery named.
    """
    user_id = subject_claim(delivery.token) or broker.user_id(delivery.token)
    if user_id != delivery.user_id:
        raise TokenRejected("A token was delivered under another account's name.", _ADVICE)
    return user_id
