"""The request for approval on the phone: what is sent, what is granted, and every refusal."""

import json
import logging
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import LIMIT, http, texts_of
from support.house import ist

from broker_tokens.brokers import (
    ApprovalNotOffered,
    ApprovalReply,
    CallNotAllowed,
    OutcomeUnknown,
)
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenError, TokenRejected
from broker_tokens.http_message import Reply
from broker_tokens.secrets import Secret
from broker_tokens.transport import HttpTransport
from broker_tokens.waker import Waker

NOW = ist("2026-11-20 09:00")
CUT = ist("2026-11-21 03:30")
NOTIFIER = "https://trader.example/notifier/PLANTED-part"
ECHO = "PLANTED-client-secret"
APPS = "https://account.upstox.com/developer/apps"


def milliseconds(instant):
    return int(instant.timestamp() * 1000)


def granted(**data):
    return {"status": "success", "data": data}


def refusal(*codes, spelling="error_code"):
    entries = [{spelling: code, "message": ECHO, "invalid_value": ECHO} for code in codes]
    return {"status": "error", "errors": entries}


class Canned:
    """A transport that answers with one reply, or raises."""

    def __init__(self, outcome, status=200):
        self.outcome, self.status = outcome, status

    def send(self, request):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        body = self.outcome
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Reply(self.status, {}, content)


@pytest.fixture
def ask(upstox_at):
    """Ask for approval of an Upstox that answers everything in one way."""
    return lambda outcome, status=200: upstox_at(
        "https://broker.example", Canned(outcome, status)
    ).request_approval()


@pytest.fixture
def failure_of(ask):
    """Return the error that an answer leads to."""

    def failure_of(outcome, status=200):
        with pytest.raises(TokenError) as caught:
            ask(outcome, status)
        return caught.value

    return failure_of


def test_broker_approval_is_asked_for_as_documented(serve, upstox_at):
    """One POST with the client ID in its path and the secret alone in its JSON; no bearer."""
    server = serve(http(200, granted(authorization_expiry="1", notifier_url=NOTIFIER)))

    upstox_at(server.url, client_id="a/b ?c#%ü").request_approval()

    (request,) = server.requests
    path = "/v3/login/auth/token/request/a%2Fb%20%3Fc%23%25%C3%BC"
    assert (request.method, request.path) == ("POST", path)
    assert json.loads(request.body) == {"client_secret": "PLANTED-client-secret"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers


def test_broker_approval_takes_any_credentials_an_env_file_can_hold(serve, upstox_at):
    """Bytes of the `.env` that are no UTF-8 are sent or refused, never a crash."""
    server = serve(http(400, refusal("UDAPI100069")))
    odd = upstox_at(server.url, client_id="a\udcff", client_secret=Secret("b\udcff"))

    with pytest.raises(ConfigurationError):
        odd.request_approval()

    assert server.requests[0].path.endswith("/a%FF")


@pytest.mark.parametrize(
    "missing", [{"client_id": ""}, {"client_secret": Secret("")}], ids=["id", "secret"]
)
def test_broker_approval_without_credentials_is_not_asked_for(serve, upstox_at, missing):
    """Without client ID or secret nothing is sent."""
    server = serve(http(200, granted()))

    with pytest.raises(ConfigurationError, match="Client ID/Secret not found"):
        upstox_at(server.url, **missing).request_approval()

    assert server.connections == 0


def test_broker_approval_on_its_way_is_not_cut_by_a_stop(serve, upstox_at):
    """A stop waits for the reply: else nobody would know whether the phone was asked."""
    waker = Waker()

    def stop_meanwhile(line):
        line.read_request()
        waker.stop()
        line.send(http(200, granted(notifier_url=NOTIFIER)))

    transport = HttpTransport(deadline=timedelta(seconds=LIMIT), waker=waker)
    reply = upstox_at(serve(stop_meanwhile).url, transport).request_approval()

    assert reply.notifier_url == NOTIFIER
    waker.close()


SOON = ist("2026-11-20 21:00")
HUGE = 10**400


@pytest.mark.parametrize(
    ("told", "expires_at"),
    [
        (str(milliseconds(CUT)), CUT),
        (milliseconds(CUT), CUT),
        (str(milliseconds(SOON)), SOON),
        (milliseconds(SOON), SOON),
        (float(milliseconds(SOON)), SOON),
        pytest.param(milliseconds(CUT) + 1, CUT, id="later than the cut"),
        pytest.param(milliseconds(NOW + timedelta(days=30)), CUT, id="a month"),
        pytest.param(milliseconds(NOW), CUT, id="now"),
        pytest.param(milliseconds(NOW) - 1, CUT, id="over"),
        pytest.param(milliseconds(SOON) // 1000, CUT, id="in seconds"),
        *((odd, CUT) for odd in (0, -1, True, None, [], {}, "", "soon", "1e12", "-5", "\u0661")),
        pytest.param(float("nan"), CUT, id="nan"),
        pytest.param(float("inf"), CUT, id="inf"),
        pytest.param(HUGE, CUT, id="huge"),
        pytest.param(1e300, CUT, id="beyond the calendar"),
        pytest.param("9" * 5000, CUT, id="huge text"),
    ],
)
def test_broker_approval_ends_when_told_but_at_the_next_cut_at_the_latest(ask, told, expires_at):
    """The end is read as number or text; what makes no sense is the next 03:30 IST."""
    reply = ask(granted(authorization_expiry=told, notifier_url=NOTIFIER))

    assert reply.expires_at == expires_at
    assert reply.expires_at.tzinfo is not None


@pytest.mark.parametrize(
    "body", [{}, {"data": None}, {"data": []}, {"data": "text"}, granted(), {"data": {"new": 1}}]
)
def test_broker_approval_that_tells_nothing_is_granted_to_the_cut(ask, body):
    """A success without its fields is still one: the phone has been asked."""
    assert ask(body) == ApprovalReply(CUT, "")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (NOTIFIER, True),
        ("http://10.0.0.1:8080/x?y#z", True),
        ("HTTPS://trader.example/", True),
        *((odd, False) for odd in (None, 5, [], "", "trader.example", "ftp://x/", "https:///x")),
        *((odd, False) for odd in ("http://[", "https://a b/", "https://a/\n", "https://\u2100/")),
        pytest.param("https://a/" + "x" * 3000, False, id="long"),
    ],
)
def test_broker_approval_names_a_notifier_that_can_be_taken_apart(ask, value, kept):
    """What is no web address is as if it were not told."""
    assert ask(granted(notifier_url=value)).notifier_url == (value if kept else "")


def test_broker_approval_does_not_show_the_notifier(ask):
    """The last part of the notifier's address is a secret, so no repr holds it."""
    assert "PLANTED" not in repr(ask(granted(notifier_url=NOTIFIER)))


# code: the kind of error, and words that the person needs
CREDENTIALS = (ConfigurationError, ["credentials", "UPSTOX_CLIENT_SECRET", APPS])
UNKNOWN = (TemporaryFailure, [])
DEFECT = (TokenError, ["does not understand our request"])
TABLE = {
    "UDAPI1123": (
        ApprovalNotOffered,
        [
            "the app has no notifier address",
            "upstox-token notifier",
            '"Notifier Webhook Endpoint"',
            APPS,
        ],
    ),
    "UDAPI1124": (ApprovalNotOffered, ["individual", "by browser", "init_tokens.py"]),
    "UDAPI1155": (ApprovalNotOffered, ["under review or was rejected", APPS]),
    "UDAPI1157": (ApprovalNotOffered, ["expired", "recreat", "client ID and secret", APPS]),
    "UDAPI100069": CREDENTIALS,
    "UDAPI100073": CREDENTIALS,
    "UDAPI100068": CREDENTIALS,
    "UDAPI100016": CREDENTIALS,
    "UDAPI1017": CREDENTIALS,
    "UDAPI1024": CREDENTIALS,
    "UDAPI100058": (TokenRejected, ["no active segment"]),
    "UDAPI1221": (CallNotAllowed, ["static IP"]),
    "UDAPI10005": (TemporaryFailure, ["429"]),
    "UDAPI100500": (TemporaryFailure, ["trouble of its own"]),
    "UDAPI100060": DEFECT,
    "UDAPI10000": DEFECT,
    **dict.fromkeys(["UDAPI1018", "UDAPI1023", "UDAPI100070"], UNKNOWN),
    **dict.fromkeys(["UDAPI100050", "UDAPI100057", "UDAPI1022", "UDAPI999999"], UNKNOWN),
}


@pytest.mark.parametrize("spelling", ["error_code", "errorCode"])
@pytest.mark.parametrize("code", TABLE)
def test_broker_approval_refused_is_told_in_words_with_the_remedy(failure_of, code, spelling):
    """Each code has its kind, its words and its name, with whatever status it comes."""
    kind, words = TABLE[code]
    for status in (200, 400, 401, 403, 404, 423, 500):
        error = failure_of(refusal(code, spelling=spelling), status)

        is_unclear = code == "UDAPI100500" and status in (200, 500)
        assert type(error) is (OutcomeUnknown if is_unclear else kind)
        assert code in error.cause or code == "UDAPI10005"
        assert error.cause.endswith(".")
        assert not [word for word in words if word not in str(error)]
        assert not [text for text in texts_of(error) if "PLANTED" in text]


@pytest.mark.parametrize("code", ["UDAPI1123", "UDAPI1124", "UDAPI1155", "UDAPI1157"])
def test_broker_approval_alone_makes_of_an_apps_state_a_way_not_offered(upstox_at, code):
    """At a login or a call with a token the same codes speak of the configuration, as before."""
    upstox = upstox_at("https://broker.example", Canned(refusal(code), 400))

    for call in ("exchange_code", "refresh", "user_id"):
        with pytest.raises(ConfigurationError) as caught:
            getattr(upstox, call)(Secret("token"))

        assert not isinstance(caught.value, ApprovalNotOffered)


def test_broker_approval_refused_for_two_reasons_gives_up_no_other_way(failure_of):
    """Beside a fault of the credentials, the milder verdict stands; trouble outranks both."""
    assert type(failure_of(refusal("UDAPI100069", "UDAPI1123"), 400)) is ApprovalNotOffered
    both = refusal("UDAPI100069", "UDAPI1123", "UDAPI100500")
    assert type(failure_of(both, 400)) is TemporaryFailure


ERROR_REPLIES = {
    "429": (http(429, {"message": ECHO}, retry_after="30"), 30),
    "503": (http(503, f"<html>{ECHO}", retry_after="60"), 60),
    "401": (http(401, {"message": ECHO}), None),
    "401 html": (http(401, f"<html>{ECHO}"), None),
    "invalid_client": (http(401, {"error": "invalid_client", "hint": ECHO}), None),
    "403": (http(403, {"message": ECHO}), None),
    "cloudflare": (http(403, f"error code: 1010 {ECHO}", cf_ray="8f-BOM"), None),
    "redirect": (http(307, ECHO, location="http://127.0.0.1:9/"), None),
    "echoed as code": (http(400, refusal(ECHO)), None),
}
UNCLEAR_REPLIES = {
    "500": http(500, {"message": ECHO}),
    "500 with a code": http(500, refusal("UDAPI100500")),
    "502": http(502, f"<html>{ECHO}"),
    "504": http(504, f"<html>{ECHO}"),
    "520": http(520, f"<html>{ECHO}", cf_ray="8f-BOM"),
    "html": http(200, f"<html>{ECHO}"),
    "empty": http(200),
    "a list": http(200, [ECHO]),
    "nested": http(200, "[" * 100_000 + ECHO),
    "says error": http(200, {"status": "error"}),
}


@pytest.mark.parametrize(("script", "wait"), ERROR_REPLIES.values(), ids=ERROR_REPLIES)
def test_broker_approval_answered_with_an_error_was_not_asked_for(serve, upstox_at, script, wait):
    """A reply that is no grant is temporary, its wait kept, and never an unknown outcome."""
    server = serve(script)

    with pytest.raises(TemporaryFailure) as caught:
        upstox_at(server.url).request_approval()

    error = caught.value
    assert not isinstance(error, OutcomeUnknown)
    assert error.retry_after == (None if wait is None else timedelta(seconds=wait))
    assert server.connections == 1
    assert not [text for text in texts_of(error) if "PLANTED" in text]


@pytest.mark.parametrize("script", UNCLEAR_REPLIES.values(), ids=UNCLEAR_REPLIES)
def test_broker_approval_answered_by_a_gateway_may_have_been_asked_for(serve, upstox_at, script):
    """Upstox may have acted before the gateway gave up: to repeat would ring the phone twice."""
    server = serve(script)

    with pytest.raises(OutcomeUnknown) as caught:
        upstox_at(server.url).request_approval()

    assert server.connections == 1
    assert "phone" in caught.value.advice
    assert not [text for text in texts_of(caught.value) if "PLANTED" in text]


def drop(line):
    line.read_request()


def reset(line):
    line.read_request()
    line.reset()


def half(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n" + ECHO.encode())


def silent(line):
    line.read_request()
    line.wait_for_hang_up()


@pytest.mark.parametrize("script", [drop, reset, half, silent], ids=lambda script: script.__name__)
def test_broker_approval_without_a_reply_has_an_unknown_outcome(serve, upstox_at, caplog, script):
    """The phone may have been asked: that is a kind of its own, asked once, without a secret."""
    caplog.set_level(logging.DEBUG)
    server = serve(script)

    with pytest.raises(OutcomeUnknown) as caught:
        upstox_at(server.url).request_approval()

    error = caught.value
    assert error.exit_code == 75
    assert error.request_sent
    assert "answer to the request for approval was lost" in error.cause
    assert f"127.0.0.1:{server.port}" in error.cause
    assert "phone" in error.advice
    assert server.connections == 1
    assert not [text for text in texts_of(error) if "PLANTED" in text]
    assert "PLANTED" not in caplog.text


def test_broker_approval_that_never_left_is_merely_temporary(failure_of):
    """Where no connection was made, the phone was not asked, and the error says so unchanged."""
    never_left = TemporaryFailure("No route.", "Wait.", request_sent=False)

    assert failure_of(never_left) is never_left
    assert type(failure_of(TemporaryFailure("Cut off.", "Wait."))) is OutcomeUnknown


names = st.sampled_from(
    ["data", "status", "errors", "error_code", "authorization_expiry", "notifier_url", "error"]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**308, 10**320)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([*TABLE, str(milliseconds(SOON)), NOTIFIER, "http://["])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5)
)
grants = st.fixed_dictionaries({"data": st.dictionaries(names, leaves)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=40) | grants | values, st.integers(200, 599))
def test_broker_approval_with_any_body_is_a_grant_or_an_error_of_ours(ask, body, status):
    """Whatever comes back, the end lies between now and the cut, or it is a TokenError."""
    try:
        reply = ask(body, status)
    except TokenError:
        return

    assert status < 300
    assert NOW < reply.expires_at <= CUT
