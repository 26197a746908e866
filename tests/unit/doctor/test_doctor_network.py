"""The way to the broker: the time there, proxies, and whoever answers in its place."""

from datetime import timedelta

import pytest
from support.hostile import HostileServer, http
from support.house import ist

from broker_tokens.brokers import Greeting
from broker_tokens.doctor.case import Visit
from broker_tokens.doctor.network import surely_off

NOW = ist("2026-11-20 08:00:10")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("seconds", "level", "code"),
    [(0, "ok", 0), (4, "ok", 0), (30, "warn", 0), (70, "fail", 78), (86_400, "fail", 78)],
)
def test_a_clock_that_is_off(house, tell, seconds, level, code, sign):
    """Off by the grace after 03:30, a renewal comes in the wrong day; less is a warning."""
    house.broker.date_shift = sign * timedelta(seconds=seconds)
    told = tell()

    assert (told["clock"], told.code) == (level, code)
    if level != "ok":
        assert ("behind" if sign > 0 else "ahead of") in told.words("clock")


def test_a_reply_that_tells_no_time(house, tell):
    """Without a `Date` nothing is known of the clock, and that is said."""
    house.broker.date_shift = None

    assert tell()["clock"] == "warn"


@pytest.mark.parametrize(
    "headers", [{"date": "yesterday"}, {"date": "Fri, 20 Nov 2026 02:30:00 GMT", "age": "3600"}]
)
def test_a_time_that_is_none_of_now(house, tell, headers):
    """Neither nonsense nor the time of a stored copy is taken for the broker's clock."""
    refusal = {"status": "error", "errors": [{"error_code": "UDAPI100050"}]}
    with HostileServer((http(401, refusal, **headers),)) as server:
        house.set(UPSTOX_API_URL=server.url)
        told = tell()

    assert (told["broker"], told["clock"]) == ("ok", "warn")


@pytest.mark.parametrize(
    ("before", "after", "off"),
    [
        (0, 0, 0),
        (0.9, 0.9, 0),  # the header is cut to whole seconds
        (0, 15, 0),  # a slow reply may have been written at any moment
        (3, 4, 2),
        (-4, -3, -3),
        (-20, 3, 0),
    ],
)
def test_what_is_surely_off(before, after, off):
    """Only what neither the cut seconds nor the way there can explain counts."""
    visit = Visit(NOW + timedelta(seconds=before), NOW + timedelta(seconds=after))

    assert surely_off(visit, Greeting(NOW)) == timedelta(seconds=off)


PAGE = http(200, "<html>Log in to the hotel", content_type="text/html")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (PAGE, "not JSON"),
        (http(200, {}), "in Upstox's place"),
        (http(302, "", location="https://portal.example/"), "redirects"),
        (http(403, "<html>", cf_ray="8f2a"), "blocked by Cloudflare"),
        (http(429, {}), "rate limit"),
        (http(503), "503"),
        (http(404, {}), "404"),
        (b"HTTP/1.1 401 x\r\ncontent-length: 100\r\n\r\n{", "broke off"),
        (b"SSH-2.0-OpenSSH_9\r\n", "broke off"),
    ],
)
def test_somebody_else_answers(house, tell, reply, words):
    """A page, a portal, a gateway: it is not Upstox, and is not shown the token."""
    token = house.log_in()
    with HostileServer((reply,)) as server:
        house.set(UPSTOX_API_URL=server.url)
        told = tell()

    assert (told.code, told.failures) == (75, {"broker"})
    assert words in told.words("broker")
    assert token not in str([request.headers for request in server.requests])
    assert told["price"] is None


@pytest.mark.parametrize(("has_ipv6", "number"), [(True, 2), (False, 1)])
def test_cloudflare_over_ipv6(house, tell, has_ipv6, number):
    """Where it may be the reason, and only there, IPv6 is mentioned."""
    with HostileServer((http(403, "error code: 1010"),)) as server:
        house.set(UPSTOX_API_URL=server.url)
        told = tell(has_ipv6=lambda: has_ipv6)

    assert len([each for each in told.findings if each.topic == "broker"]) == number


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "none"),
        ({"HTTPS_PROXY": "http://me:planted@proxy.example:3128/"}, "proxy.example:3128 (HTTPS_"),
        ({"https_proxy": "http://a.example", "HTTPS_PROXY": "http://b.example"}, "a.example (HT"),
        ({"ALL_PROXY": "socks5://me:plan/ted@p.example:1080"}, "through p.example:1080 (ALL_"),
        ({"HTTPS_PROXY": "me:planted@p.example:3128"}, "through p.example:3128 ("),
        ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": ".upstox.com"}, "NO_PROXY excepts"),
        ({"HTTP_PROXY": "http://p.example"}, "none"),
    ],
)
def test_the_proxy(house, tell, environ, words):
    """Which one counts, by its place alone: never its password."""
    house.set(UPSTOX_API_URL="https://api.upstox.com")
    told = tell(environ=environ, is_offline=True)

    assert words in told.words("proxy")
    assert not [word for word in ("planted", "plan/", "me:") if word in told.words("proxy")]
