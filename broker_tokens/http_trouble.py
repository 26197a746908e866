"""What went wrong with a request, in words for people."""

import ssl
from collections.abc import Iterator

import requests
import urllib3

from broker_tokens.errors import ConfigurationError, TokenError
from broker_tokens.http_message import NoReply, host_of

# What an address raises that can never be called, or a proxy of a kind that `requests` cannot use.
_MALFORMED = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
)


def explain(error: Exception, url: str, *, sent: bool) -> TokenError:
    """Return the error for people of a failed request.

    The original's text is dropped: it can hold the address with its query, or header values.
    """
    host = host_of(url)
    reasons = list(_chain(error))
    if isinstance(error, TokenError):
        return error
    if _is_any(reasons, *_MALFORMED):
        return ConfigurationError(
            f"The address of {host}, or of the proxy before it, is malformed.",
            "Check UPSTOX_API_URL and HTTPS_PROXY.",
        )
    if _is_any(reasons, requests.exceptions.InvalidHeader, UnicodeEncodeError):
        return ConfigurationError(
            "A token holds a character that no HTTP header can carry, so nothing was sent.",
            "Copy it again, or log in: python init_tokens.py",
        )
    if not _is_any(reasons, requests.RequestException, urllib3.exceptions.HTTPError):
        # requests checks the bundle's path itself, with a plain OSError.
        return ConfigurationError(
            "The CA bundle that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names cannot be read.",
            "Correct or unset that variable.",
        )
    cause, advice = network_trouble(error, host)
    return NoReply(cause, advice, request_sent=sent)


def network_trouble(error: BaseException, host: str) -> tuple[str, str]:
    """Return cause and advice of a request that the network, a proxy or TLS did not let through."""
    reasons = list(_chain(error))
    again = "Check the network and try again; a running service does so by itself."
    if _is_any(reasons, requests.exceptions.ProxyError):
        return (
            f"The proxy on the way to {host} fails.",
            "Check HTTPS_PROXY, or unset it if this machine needs no proxy.",
        )
    if _is_any(reasons, ssl.SSLError, requests.exceptions.SSLError):
        return (
            f"The TLS connection to {host} failed: {_tls_reason(reasons)}.",
            "Check this machine's clock and CA certificates, and any proxy that inspects TLS.",
        )
    if _is_any(reasons, urllib3.exceptions.NameResolutionError):
        return f"The name {host} cannot be resolved.", again
    if _is_any(reasons, ConnectionRefusedError):
        return f"{host} refuses the connection.", again
    if _is_any(reasons, requests.Timeout, TimeoutError):
        return f"{host} did not answer in time.", again
    return f"The connection to {host} broke off.", again


def _tls_reason(reasons: list[BaseException]) -> str:
    for reason in reasons:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return reason.verify_message
        if isinstance(reason, ssl.SSLError) and reason.reason:
            return reason.reason.replace("_", " ").lower()
    return "handshake broken off"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error with all it was made from: causes, contexts, and urllib3's `reason`."""
    pending, seen = [error], set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        linked = (current.__cause__, current.__context__, getattr(current, "reason", None))
        pending.extend(e for e in (*linked, *current.args) if isinstance(e, BaseException))


def _is_any(reasons: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(reason, kinds) for reason in reasons)
