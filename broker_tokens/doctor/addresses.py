"""The two addresses at which answers come back: the login's redirect, and the notifier."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from broker_tokens.doctor.case import Case
from broker_tokens.doctor.finding import Finding, fail, failed, ok, warn
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.model import Way
from broker_tokens.place import parse_place
from broker_tokens.renewals.browser_login import can_catch
from broker_tokens.renewals.phone_approval import NOTIFIER_PATH, public_base
from broker_tokens.setting_values import LOOPBACK_HOSTS
from broker_tokens.web.sockets import bind

_KEY = "UPSTOX_REDIRECT_URI"

# Field reports: Upstox's filter of addresses does not like these.
_ENDINGS = re.compile(r"\.(php|aspx?|jsp|cgi|exe)$", re.IGNORECASE)

_FIRST_FREE_PORT = 1024


def check_redirect(case: Case) -> Iterator[Finding]:
    """Whether the redirect address can work, as far as it shows."""
    if not case.is_readable or _KEY in case.reading.wrong_keys:
        return
    parts = urlsplit(case.look.settings.redirect_uri)
    found = list(_traps(parts))
    yield from found
    if not found:
        twins = "; localhost and 127.0.0.1 differ" if parts.hostname in LOOPBACK_HOSTS else ""
        yield ok("redirect", f"{_shown(parts)}, which the app must have to the letter{twins}")


def _traps(parts: SplitResult) -> Iterator[Finding]:
    host, is_here = parts.hostname or "", parts.hostname in LOOPBACK_HOSTS
    if parts.port == 0:
        yield fail("redirect", f"port 0 of {_KEY} is no port", "Choose one above 1023.")
    elif is_here and (parts.port is None or parts.port < _FIRST_FREE_PORT):
        yield warn(
            "redirect",
            f"port {parts.port or 80} of {_KEY} may be used by root alone",
            "Register an address with a port above 1023, such as http://localhost:3000/callback",
        )
    if parts.scheme == "http" and not is_here:
        yield warn(
            "redirect",
            f"the login's code comes back to {host} in plain http, for all to read on the way",
            "Register an https address, or http://localhost:3000/callback",
        )
    if parts.path.endswith("/") and parts.path != "/":
        yield warn(
            "redirect",
            f"{_shown(parts)} ends in a slash, which counts",
            f"Be sure that the app has it, too, or take it away in {_KEY}.",
        )
    if _ENDINGS.search(parts.path):
        yield warn(
            "redirect",
            f"{_shown(parts)} ends as addresses do that Upstox is known to block",
            "Register one without such an ending.",
        )


def _shown(parts: SplitResult) -> str:
    """Return an address without what may be a password or a key in it."""
    more = "?..." if parts.query else ""
    return f"{parts.scheme}://{_place(parts)}{parts.path}{more}"


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def check_port(case: Case) -> Iterator[Finding]:
    """Whether the redirect's port is free, or held by our own service."""
    uri = case.look.settings.redirect_uri
    port = urlsplit(uri).port
    if not case.is_readable or _KEY in case.reading.wrong_keys or not can_catch(uri) or not port:
        return
    if port == _own_port(case):
        yield ok("port", f"{port} is our own service's, which takes the login's answer")
        return
    try:
        bound = bind(urlsplit(uri).hostname or "", port)
    except TemporaryFailure as error:
        advice = f"{error.advice} Until then the login's answer has to be pasted."
        yield warn("port", f"{error.cause} The login's answer would go there.", advice)
        return
    for each in bound:
        each.close()
    yield ok("port", f"{port} is free for the login's answer")


def _own_port(case: Case) -> int | None:
    try:
        return parse_place(case.attendance.listens_at).port
    except ValueError:
        return None


def check_notifier(case: Case) -> Iterator[Finding]:
    """Whether an approval on the phone can bring its token to us."""
    settings = case.look.settings
    if Way.PHONE_APPROVAL not in settings.ways or not case.is_readable:
        return
    if settings.notifier_secret is None:
        yield ok("notifier", "not set up; approval on the phone is an option (see the README)")
        return
    yield _notifier_address(case)
    if not case.attendance.listens_at:
        yield warn(
            "notifier",
            "it has an address, and no service listens: an approved token would find nobody",
            "Start the service with --listen: python token_refresh_service.py --listen 8765",
        )
    asked = case.look.state.approval
    if asked is not None and asked.refusal:
        yield warn("notifier", f"the last request for approval was refused: {asked.refusal}")


def _notifier_address(case: Case) -> Finding:
    settings = case.look.settings
    parts = urlsplit(settings.redirect_uri)
    if parts.hostname in LOOPBACK_HOSTS:
        return ok(
            "notifier",
            f"...{NOTIFIER_PATH}...; under which name Upstox reaches it, the redirect address does"
            " not tell",
        )
    base = f"{parts.scheme}://{_place(parts)}"
    try:
        public_base(base, settings.api_url)
    except ConfigurationError as error:
        return failed("notifier", error)
    if _is_number(parts.hostname or ""):
        return warn(
            "notifier",
            f"{base}{NOTIFIER_PATH}... is a bare number, for which hardly any certificate is valid",
            "Have a name of your own lead to the service.",
        )
    return ok("notifier", f"{base}{NOTIFIER_PATH}...")


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
