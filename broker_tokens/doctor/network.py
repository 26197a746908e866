"""The way to the broker: proxies, who answers there, and what time it is there."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from broker_tokens.brokers import Greeting
from broker_tokens.clock import format_duration
from broker_tokens.doctor.case import Case, Visit
from broker_tokens.doctor.finding import Finding, fail, failed, ok, warn
from broker_tokens.http_message import host_of
from broker_tokens.policy import GRACE_AFTER_CUT
from broker_tokens.setting_values import LOOPBACK_HOSTS

# A clock that the network keeps is right within a second; one that is not drifts on.
_DRIFTING = timedelta(seconds=5)

# Beyond this, what we take for 03:31 is before the broker's 03:30: the token that is then asked for
# dies a moment later. Certificates and login links hang on the time as well.
_TOO_FAR = GRACE_AFTER_CUT

_A_SECOND = timedelta(seconds=1)


def check_proxy(case: Case) -> Iterator[Finding]:
    """Whether requests go through a proxy; its password is not shown."""
    environ = case.surroundings.environ
    host = urlsplit(case.look.settings.api_url).hostname or ""
    name, proxy = _proxy(environ)
    if not proxy:
        yield ok("proxy", "none is set")
    elif host in LOOPBACK_HOSTS:
        yield ok("proxy", f"{name} is set, and not used for an API on this machine itself")
    elif proxy_bypass_environment(host, {"no": _either(environ, "no_proxy")}):
        yield ok("proxy", f"{name} is set, and NO_PROXY excepts {host}")
    else:
        yield ok("proxy", f"requests go through {_shown_proxy(proxy)} ({name})")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if environ.get(name):
            yield ok("certificates", f"{name} says which certificates are trusted")


def _proxy(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that counts for https, and the proxy in it, as `requests` looks."""
    for name in ("https_proxy", "all_proxy"):
        if found := _either(environ, name):
            return name.upper(), found
    return "", ""


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper(), "")


def _shown_proxy(proxy: str) -> str:
    """Return host and port alone; the password before the last @ may hold any sign."""
    return proxy.rpartition("@")[2].rpartition("://")[2].partition("/")[0]


def check_broker(case: Case) -> Iterator[Finding]:
    """Whether the broker itself answers; without a token it refuses, which is its sign of life."""
    host = host_of(case.look.settings.api_url)
    if case.visit is None:
        why = "--offline" if case.surroundings.is_offline else "UPSTOX_API_URL is wrong"
        yield warn("broker", f"not asked: {why}")
        return
    error = case.visit.error
    if error is None:
        yield ok("broker", f"Upstox itself answers at {host}")
        return
    yield failed("broker", error)
    if "Cloudflare" in error.cause and case.surroundings.has_ipv6():
        yield warn(
            "broker",
            "this machine goes out over IPv6, over which Upstox's guard has refused programs"
            " (Cloudflare error 1010)",
            "Prefer IPv4: in /etc/gai.conf, take the # from `precedence ::ffff:0:0/96  100`.",
        )


def check_clock(case: Case) -> Iterator[Finding]:
    """Whether this machine's clock goes as the broker's does, by the `Date` of its reply."""
    visit = case.visit
    if visit is None:
        return
    greeting = visit.greeting
    if greeting is None or greeting.date is None:
        yield warn("clock", "not compared: no reply of the broker told the time")
        return
    off = surely_off(visit, greeting)
    words = f"it is {format_duration(abs(off))} {'ahead of' if off > timedelta(0) else 'behind'}"
    remedy = "Have the network keep it: sudo timedatectl set-ntp true (Windows: w32tm /resync)"
    if abs(off) >= _TOO_FAR:
        yield fail(
            "clock", f"{words} Upstox's: renewals at 03:31 would come at the wrong time", remedy
        )
    elif abs(off) >= _DRIFTING:
        yield warn("clock", f"{words} Upstox's", remedy)
    else:
        yield ok("clock", "it goes as Upstox's does")


def surely_off(visit: Visit, greeting: Greeting) -> timedelta:
    """Return by how much our clock is surely ahead (negative: behind), zero if it may be right.

    `Date` is in whole seconds, and was written at some moment between `before` and `after`.
    """
    if greeting.date is None:
        return timedelta(0)
    least, most = visit.before - (greeting.date + _A_SECOND), visit.after - greeting.date
    if least > timedelta(0):
        return least
    return min(most, timedelta(0))
