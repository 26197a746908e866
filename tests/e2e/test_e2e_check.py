"""`upstox-token check`: three questions to the broker, each with a line of its own."""

import re

import pytest
from support.doors import LTP, PROFILE, UPSTOX_TOKEN, free_port
from support.hostile import HostileServer, http

from broker_tokens.simulator.broker import Endpoint
from broker_tokens.simulator.wire import Response, json_response

FEED = "/v3/feed/market-data-feed/authorize"
CLOUDFLARE = Response(403, {"CF-RAY": "8f2a", "Content-Type": "text/html"}, b"<html>")
UNCODED = json_response({"status": "error", "errors": []}, 403)


def check(doors):
    """Run it; return the exit code, the levels by topic, and what was said."""
    ended = doors.run(*UPSTOX_TOKEN, "check")
    lines = re.findall(r"(?m)^(ok|warn|fail) +(\w+):", ended.out)
    return ended, {topic: level for level, topic in lines}


def paste(doors, token):
    """Put a token into the `.env` as another tool would."""
    doors.set(access_token=token)


def test_a_working_token(doors):
    """Price, account and feed; nothing is said beside the answer."""
    doors.log_in()
    ended, levels = check(doors)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Token is valid and working!\n")
    assert levels == {"price": "ok", "account": "ok", "feed": "ok"}
    assert "26,012.45" in ended.out
    assert "SIM001" in ended.out
    assert doors.broker.count(FEED) == 1


def test_the_address_of_the_feed_is_not_shown(doors):
    """It opens the feed for whoever has it; the broker's books know it, the output does not."""
    doors.log_in()
    before = set(doors.broker.secrets)
    ended, _ = check(doors)

    assert doors.broker.secrets > before, "the feed's code is among what is searched for"
    assert "wss://" not in ended.said


def test_a_dead_token_is_asked_about_once(doors):
    """After the first answer the other two questions have none."""
    doors.broker.revoke(doors.log_in())
    ended, levels = check(doors)

    assert (ended.code, levels) == (77, {})
    assert ended.err.startswith("Token is expired or invalid")
    assert doors.broker.count(PROFILE) == doors.broker.count(FEED) == 0


def test_no_network_is_no_verdict(doors):
    """Nobody answers: temporary, in the network's words, and the token is kept."""
    token = doors.log_in()
    doors.set(UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
    ended, levels = check(doors)

    assert (ended.code, levels) == (75, {})
    assert "refuses the connection" in ended.err
    assert doors.values["access_token"] == token


@pytest.mark.parametrize(("path", "topic"), [(LTP, "price"), (PROFILE, "account"), (FEED, "feed")])
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (CLOUDFLARE, "blocked by Cloudflare"),
        (Response(429), "rate limit"),
        (Response(503), "503"),
        (Response(401), "401 Unauthorized"),
    ],
)
def test_trouble_with_one_question_keeps_the_others(doors, path, topic, reply, words):
    """The cause is in its own line, the other two are answered, and it is temporary."""
    token = doors.log_in()
    doors.broker.answers[path] = reply
    ended, levels = check(doors)

    assert ended.code == 75
    assert levels == {"price": "ok", "account": "ok", "feed": "ok"} | {topic: "fail"}
    line = next(line for line in ended.out.splitlines() if f"{topic}:" in line)
    assert words in line
    assert "valid and working" not in ended.out
    assert doors.values["access_token"] == token


@pytest.mark.parametrize("refusal", ["UDAPI1149", ""])
def test_a_feed_that_is_forbidden(doors, refusal):
    """The token lives and the feed is refused: plan, right, or too many sockets; a person acts."""
    doors.log_in()
    doors.broker.feed_refusal = refusal
    if not refusal:
        doors.broker.answers[FEED] = UNCODED
    ended, levels = check(doors)

    assert (ended.code, levels["feed"], levels["price"]) == (77, "fail", "ok")
    assert "Failed to get WebSocket URL: 403 Forbidden" in ended.out
    assert ("Upstox Plus" if refusal else "Close other programs") in ended.out
    assert "alive" in ended.out.splitlines()[0]


def test_the_static_ip_gate(doors):
    """The profile is closed from here: the account is the token's claim, and the token works."""
    doors.log_in()
    doors.broker.static_ip_gate = True
    ended, levels = check(doors)

    assert (ended.code, levels["account"]) == (0, "warn")
    assert "static IP (UDAPI1221)" in ended.out
    assert "SIM001" in ended.out


def test_a_read_only_token_of_a_year(doors):
    """An Analytics token has prices and the feed, and is told from one that may place orders."""
    paste(doors, doors.broker.mint_analytics())
    ended, levels = check(doors)

    assert ended.code == 0
    assert levels == {"price": "ok", "account": "warn", "feed": "ok", "class": "warn"}
    assert "read-only" in ended.out


def test_a_broker_that_answers_nothing_has_not_called_the_token_alive(doors):
    """What the token says of itself is no answer of Upstox's."""
    paste(doors, doors.broker.mint_analytics())
    for endpoint in (Endpoint.LTP, Endpoint.PROFILE, Endpoint.FEED):
        doors.broker.faults[endpoint] = ["UDAPI100500"]
    ended, levels = check(doors)

    assert (ended.code, levels["class"]) == (75, "warn")
    assert "could not be found out" in ended.out


def test_the_wrong_class_of_token(doors):
    """An extended token that is not taken for prices is told as what it is, and is not dead."""
    doors.log_in()
    doors.broker.faults[Endpoint.LTP] = ["UDAPI100067"]
    doors.broker.faults[Endpoint.PROFILE] = ["UDAPI100067"]
    ended, levels = check(doors)

    assert (ended.code, levels["price"], levels["account"]) == (77, "fail", "warn")
    assert "403 Forbidden: this token is of the wrong class" in ended.out
    assert doors.run(*UPSTOX_TOKEN, "token", hide_out=False).code == 0


def test_the_token_of_another_account(doors):
    """Somebody else's token in the file is not for these strategies."""
    doors.log_in()
    paste(doors, doors.broker.mint("XY9999"))
    ended, _ = check(doors)

    assert ended.code == 77
    assert "XY9999" in ended.out
    assert "SIM001" in ended.out


@pytest.mark.parametrize(
    "data", [None, [], {}, {"authorized_redirect_uri": "http://x/"}, {"authorized_redirect_uri": 5}]
)
def test_a_feed_reply_without_an_address(doors, data):
    """A reply that says yes and holds no WebSocket's address authorizes nothing."""
    doors.log_in()
    doors.broker.answers[FEED] = json_response({"status": "success", "data": data})
    ended, levels = check(doors)

    assert (ended.code, levels["feed"]) == (75, "fail")
    assert "Failed to get WebSocket URL" in ended.out


def test_a_broker_that_hangs_up_after_the_first_question(doors):
    """The line is lost half way: what is known is shown."""
    doors.log_in()
    price = http(200, doors_price())
    with HostileServer((price, lambda line: line.read_request())) as server:
        doors.set(UPSTOX_API_URL=server.url)
        ended, levels = check(doors)

    assert ended.code == 75
    assert levels == {"price": "ok", "account": "fail", "feed": "fail"}
    assert "broke off" in ended.out


def doors_price():
    quote = {"instrument_token": "NSE_INDEX|Nifty 50", "last_price": 26012.45}
    return {"status": "success", "data": {"NSE_INDEX:Nifty 50": quote}}
