"""What Upstox is sent, byte for byte, and what is made of its replies."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import LIMIT, http, jwt
from support.house import ist

from broker_tokens.brokers import CallNotAllowed, UselessReply
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenError, TokenRejected
from broker_tokens.http_message import Reply
from broker_tokens.secrets import Secret
from broker_tokens.transport import HttpTransport
from broker_tokens.waker import Waker

CUT = ist("2026-11-21 03:30")
TOKEN = Secret("tok-en.of_test")
FEED = {"authorized_redirect_uri": "wss://feed.example/v3?requestId=1&code=PLANTED-once"}
NIFTY = {"NSE_INDEX:Nifty 50": {"instrument_token": "NSE_INDEX|Nifty 50", "last_price": 24_000.5}}
REDIRECT = "https://trader.example/back?keep=1&name=a b/ü+%&x"


class Canned:
    """A transport that answers every request with one reply."""

    def __init__(self, body, status=200):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply = Reply(status, {}, content)

    def send(self, request):
        return self.reply


@pytest.fixture
def answer(upstox_at):
    """Return an Upstox that answers everything with one body."""
    return lambda body, status=200: upstox_at("https://broker.example", Canned(body, status))


def form_of(request):
    return parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)


def test_broker_code_exchange_is_sent_as_documented(serve, upstox_at):
    """Five form fields and no more, each once, at the documented path."""
    server = serve(http(200, {"access_token": "new", "user_id": "AB1234"}))

    upstox_at(server.url, redirect_uri=REDIRECT).exchange_code(Secret("co/de+&=1"))

    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v2/login/authorization/token")
    assert sorted(form_of(request)) == [
        ("client_id", "client-of-test"),
        ("client_secret", "PLANTED-client-secret"),
        ("code", "co/de+&=1"),
        ("grant_type", "authorization_code"),
        ("redirect_uri", REDIRECT),
    ]
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("broker-tokens/")
    assert "authorization" not in request.headers


def test_broker_refresh_grant_is_sent_as_the_standard_says(serve, upstox_at):
    """RFC 6749 section 6, with the client's credentials in the form."""
    server = serve(http(200, {"access_token": "new"}))

    upstox_at(server.url).refresh(Secret("re/fresh+1"))

    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v2/login/authorization/token")
    assert sorted(form_of(request)) == [
        ("client_id", "client-of-test"),
        ("client_secret", "PLANTED-client-secret"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "re/fresh+1"),
    ]


@pytest.mark.parametrize("call", ["exchange_code", "refresh"])
def test_broker_stop_waits_for_a_token_that_is_on_its_way(serve, upstox_at, call):
    """What spends a code or a refresh token is never cut by a stop: its reply would be lost."""
    waker = Waker()

    def stop_meanwhile(line):
        line.read_request()
        waker.stop()
        line.send(http(200, {"access_token": "new"}))

    transport = HttpTransport(deadline=timedelta(seconds=LIMIT), waker=waker)
    upstox = upstox_at(serve(stop_meanwhile).url, transport)

    assert getattr(upstox, call)(Secret("spent")).access_token == Secret("new")
    waker.close()


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        ("last_price", "GET", "/v3/market-quote/ltp?instrument_key=NSE_INDEX%7CNifty%2050", NIFTY),
        ("check_life", "GET", "/v3/market-quote/ltp?instrument_key=NSE_INDEX%7CNifty%2050", NIFTY),
        ("user_id", "GET", "/v2/user/profile", {"user_id": "AB1234"}),
        ("profile", "GET", "/v2/user/profile", {"user_id": "AB1234"}),
        ("feed_address", "GET", "/v3/feed/market-data-feed/authorize", FEED),
        ("log_out", "DELETE", "/v2/logout", True),
    ],
)
def test_broker_bearer_calls_are_sent_as_documented(serve, upstox_at, call, method, path, body):
    """Method, path with its query, and the bearer; no form and no version header."""
    server = serve(http(200, {"status": "success", "data": body}))

    getattr(upstox_at(server.url), call)(TOKEN)

    (request,) = server.requests
    assert (request.method, request.path, request.body) == (method, path, b"")
    assert request.headers["authorization"] == "Bearer tok-en.of_test"
    assert request.headers["user-agent"].startswith("broker-tokens/")
    assert "api-version" not in request.headers


@pytest.mark.parametrize(
    "redirect", [REDIRECT, "http://localhost:3000/callback", "http://127.0.0.1/ü?a=%20&b=+"]
)
@pytest.mark.parametrize("state", [None, "", "s p&c=/+%ü"])
def test_broker_authorization_url_survives_its_decoding(upstox_at, redirect, state):
    """Whatever is in redirect URI and state arrives unchanged; blanks are never `+`."""
    upstox = upstox_at("https://broker.example", redirect_uri=redirect)

    address = upstox.authorization_url(state)

    parts = urlsplit(address)
    expected = {
        "response_type": ["code"],
        "client_id": ["client-of-test"],
        "redirect_uri": [redirect],
    } | ({} if state is None else {"state": [state]})
    assert parse_qs(parts.query, keep_blank_values=True, strict_parsing=True) == expected
    assert parts.path == "/v2/login/authorization/dialog"
    assert address.isascii()
    assert not set(" +") & set(address)


@pytest.mark.parametrize(
    "missing", [{"client_id": ""}, {"client_secret": Secret("")}], ids=["id", "secret"]
)
def test_broker_without_credentials_nothing_is_sent(serve, upstox_at, missing):
    """Without client ID or secret no code and no refresh token is spent."""
    server = serve(http(200, {}))
    upstox = upstox_at(server.url, **missing)

    for call in (
        upstox.authorization_url,
        lambda: upstox.exchange_code(Secret("code")),
        lambda: upstox.refresh(Secret("refresh")),
    ):
        with pytest.raises(ConfigurationError, match="Client ID/Secret not found"):
            call()
    assert server.connections == 0


@pytest.mark.parametrize("value", ["", "a\nb", "a b", "a\u20b9", "\ud800", "a\x00", "a\r\nX-Y: z"])
def test_broker_token_that_no_header_carries_is_not_sent(serve, upstox_at, value):
    """A damaged token is invalid without asking; `Bearer ` with nothing is never sent."""
    server = serve(http(200, {}))

    for call in ("last_price", "check_life", "user_id", "profile", "feed_address", "log_out"):
        with pytest.raises(TokenRejected, match="Token is expired or invalid"):
            getattr(upstox_at(server.url), call)(Secret(value))
    assert server.connections == 0


def test_broker_documented_reply_is_read_whole(answer):
    """The reply of the documents: token, user, extended token; all else is ignored."""
    body = {
        "email": "s",
        "exchanges": ["NSE"],
        "user_id": "4HCYNF",
        "is_active": True,
        "access_token": "acc",
        "extended_token": "ext",
        "new": {"deep": [1]},
    }

    reply = answer(body).exchange_code(Secret("code"))

    assert (reply.access_token, reply.extended_token) == (Secret("acc"), Secret("ext"))
    assert (reply.user_id, reply.refresh_token, reply.expires_at) == ("4HCYNF", None, CUT)


@pytest.mark.parametrize(
    "value", [None, 5, True, [], {}, "", " ", "a b", "a\n", "a\u20b9", "x" * 1_000_000]
)
def test_broker_odd_side_tokens_are_left_out(answer, value):
    """An extended or refresh token that is none never spoils the access token beside it."""
    for name in ("extended_token", "refresh_token", "user_id"):
        reply = answer({"access_token": "acc", name: value}).exchange_code(Secret("code"))

        assert getattr(reply, name) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"access_token": None},
        {"access_token": 5},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\n"},
        {"access_token": "a\u20b9"},
        {"access_token": "x" * 1_000_000},
        {"access_token": ["acc"]},
        {"data": {"access_token": "wrapped"}},
        {"access_token": jwt(exp=1_795_100_000, sub="AB1234")},
    ],
    ids=lambda body: str(body)[:30],
)
def test_broker_useless_reply_hands_over_its_refresh_token(answer, body):
    """A reply without a live token is temporary, and the rotated refresh token is not lost."""
    for call in ("exchange_code", "refresh"):
        with pytest.raises(UselessReply) as caught:
            getattr(answer(body | {"refresh_token": "rotated"}), call)(Secret("spent"))

        assert caught.value.refresh_token == Secret("rotated")
        assert caught.value.exit_code == 75
        assert caught.value.request_sent
        assert "rotated" not in repr(vars(caught.value))


@pytest.mark.parametrize("odd", ["a b", "a'b", 'a"b', "a$b", "a#b", "a\\b", "a\nb", "ä", ""])
def test_broker_a_token_that_no_file_can_hold_is_none(answer, odd):
    """Kept in mind as unsaved it would be written in vain until 03:30, and no other asked for."""
    with pytest.raises(UselessReply, match="can be kept") as caught:
        answer({"access_token": odd, "refresh_token": "rotated"}).refresh(Secret("spent"))

    assert caught.value.refresh_token == Secret("rotated")
    reply = answer({"access_token": "new", "refresh_token": odd}).refresh(Secret("spent"))
    assert reply.refresh_token is None


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("expires_in", "expires_at"),
    [
        ("60", ist("2026-11-20 09:01")),
        ("0.5", ist("2026-11-20 09:00") + timedelta(seconds=0.5)),
        ("86400", CUT),
        ("999999999", CUT),
        *((text, CUT) for text in ("0", "-5", "true", "null", '"60"', "[]", "1e9", "1e999")),
        *((text, CUT) for text in ("NaN", "Infinity", "-Infinity", HUGE, "-" + HUGE)),
    ],
)
def test_broker_expires_in_may_shorten_a_life_never_lengthen_it(answer, expires_in, expires_at):
    """The 03:30 rule stands, and nonsense in `expires_in` is as if it were not there."""
    body = f'{{"access_token": "acc", "expires_in": {expires_in}}}'.encode()

    assert answer(body).refresh(Secret("r")).expires_at == expires_at


def test_broker_jwt_tells_its_own_end(answer):
    """An `exp` before 03:30 counts, and `expires_in` shortens that too."""
    token = jwt(exp=1_795_150_000, sub="AB1234")
    end = datetime.fromtimestamp(1_795_150_000, UTC)

    assert answer({"access_token": token}).refresh(Secret("r")).expires_at == end
    shorter = answer({"access_token": token, "expires_in": 60}).refresh(Secret("r"))
    assert shorter.expires_at == ist("2026-11-20 09:01")


@pytest.mark.parametrize(
    "text", ["true", "null", '"5"', "NaN", "Infinity", HUGE, "[]", "9" * 5000, "[" * 200_000]
)
def test_broker_price_that_is_none_is_temporary(answer, text):
    """Neither a huge integer nor NaN nor deep nesting passes for a price, or crashes."""
    body = (
        f'{{"data": {{"k": {{"instrument_token": "NSE_INDEX|Nifty 50", "last_price": {text}}}}}}}'
    )

    with pytest.raises(TemporaryFailure):
        answer(body.encode()).last_price(TOKEN)


def test_broker_price_is_matched_by_its_instrument(answer):
    """The key of the reply is not the one asked for; `instrument_token` tells."""
    other = {"NSE_INDEX|Nifty 50": {"instrument_token": "NSE_INDEX|Bank", "last_price": 1}}

    assert answer({"data": other | NIFTY}).last_price(TOKEN) == 24_000.5
    with pytest.raises(TemporaryFailure):
        answer({"data": other}).last_price(TOKEN)


def refused(code, status=401):
    return {"status": "error", "errors": [{"errorCode": code}]}, status


def test_broker_life_is_judged_by_the_code_of_a_dead_token_alone(answer):
    """A gated or wrong-class token is alive, a dead one rejected, all else unclear."""
    for code in ("UDAPI1221", "UDAPI1154", "UDAPI100067", "UDAPI1149"):
        answer(*refused(code)).check_life(TOKEN)
    with pytest.raises(TokenRejected):
        answer(*refused("UDAPI100050")).check_life(TOKEN)
    for code in ("UDAPI100016", "UDAPI100072", "UDAPI999", "UDAPI100057"):
        with pytest.raises(TemporaryFailure):
            answer(*refused(code)).check_life(TOKEN)
    with pytest.raises(TemporaryFailure):
        answer({"message": "Unauthorized"}, 401).check_life(TOKEN)


def test_broker_user_is_read_from_the_jwt_where_the_profile_is_gated(answer):
    """Off the static IP the claim must do; without one the gate is told."""
    gated = answer(*refused("UDAPI1221"))

    assert gated.user_id(Secret(jwt(sub="AB1234"))) == "AB1234"
    for token in (TOKEN, Secret(jwt(sub="A B\n")), Secret(jwt(sub=5))):
        with pytest.raises(CallNotAllowed):
            gated.user_id(token)
    with pytest.raises(TokenRejected):
        answer(*refused("UDAPI100050")).user_id(Secret(jwt(sub="AB1234")))


@pytest.mark.parametrize("value", [None, 5, "", "A B", "A\n", "x" * 65, "\u0661", ["AB1234"]])
def test_broker_profile_without_a_user_is_temporary(answer, value):
    """An id is letters and digits; anything else in its place is no id."""
    with pytest.raises(TemporaryFailure):
        answer({"data": {"user_id": value}}).user_id(TOKEN)


def test_broker_profile_alone_tells_of_the_gate(answer):
    """Where `user_id` makes do with the claim, `profile` says that it is closed."""
    with pytest.raises(CallNotAllowed):
        answer(*refused("UDAPI1221")).profile(Secret(jwt(sub="AB1234")))


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (FEED, FEED["authorized_redirect_uri"]),
        ({"authorizedRedirectUri": "wss://feed.example/"}, "wss://feed.example/"),
        ({"authorized_redirect_uri": None, "authorizedRedirectUri": "wss://x/"}, "wss://x/"),
        ({"authorized_redirect_uri": "ws://127.0.0.1:9/feed"}, "ws://127.0.0.1:9/feed"),
        *(
            ({"authorized_redirect_uri": odd}, None)
            for odd in ("ws://feed.example/", "https://feed.example/", "wss://", "wss://a b/", 5)
        ),
        ([], None),
        (None, None),
    ],
)
def test_broker_feed_address_is_a_secret(answer, data, address):
    """Either spelling; TLS, this machine aside; whoever prints it shows nothing."""
    upstox = answer({"status": "success", "data": data})
    if address is None:
        with pytest.raises(TemporaryFailure, match="Failed to get WebSocket URL"):
            upstox.feed_address(TOKEN)
        return
    found = upstox.feed_address(TOKEN)

    assert found == Secret(address)
    assert "feed" not in f"{found} {found!r}"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (*refused("UDAPI1149", 403), CallNotAllowed),
        ({"status": "error"}, 403, CallNotAllowed),
        ({"status": "error"}, 503, TemporaryFailure),
        ({"status": "error"}, 401, TemporaryFailure),
        (b"<html>", 403, TemporaryFailure),
    ],
)
def test_broker_feed_that_is_refused_is_told_in_the_words_people_look_up(
    answer, body, status, kind
):
    """`Failed to get WebSocket URL`, then why; a dead token is told as what it is."""
    with pytest.raises(kind) as caught:
        answer(body, status).feed_address(TOKEN)

    assert caught.value.cause.startswith("Failed to get WebSocket URL: ")
    with pytest.raises(TokenRejected, match="^Token is expired or invalid"):
        answer(*refused("UDAPI100050")).feed_address(TOKEN)


@pytest.mark.parametrize(
    ("headers", "date"),
    [
        ({"date": "Fri, 20 Nov 2026 03:30:00 GMT"}, ist("2026-11-20 09:00")),
        ({"date": "Fri, 20 Nov 2026 03:30:00"}, ist("2026-11-20 09:00")),
        ({"date": "Fri, 20 Nov 2026 09:00:00 +0530"}, ist("2026-11-20 09:00")),
        ({"date": "Fri, 20 Nov 2026 03:30:00 GMT", "age": "0"}, None),
        ({"date": "99 Foo 99999"}, None),
        ({"date": "Fri, 31 Dec 9999 23:59:59 -2359"}, None),
        ({}, None),
    ],
)
def test_broker_greeting_is_a_call_without_a_token(serve, upstox_at, headers, date):
    """The refusal of a missing token is the broker's sign of life, and brings its time."""
    server = serve(http(*reversed(refused("UDAPI100050")), **headers))

    greeting = upstox_at(server.url).greet()

    (request,) = server.requests
    assert "authorization" not in request.headers
    assert request.path.startswith("/v3/market-quote/ltp?")
    assert (greeting.error, greeting.date) == (None, date)


def test_broker_greeting_of_somebody_else(answer):
    """Success without a token, or anything that is not the broker's code, is not the broker."""
    for body, status in (({"status": "success"}, 200), (b"<html>", 200), ({}, 401), ({}, 503)):
        assert isinstance(answer(body, status).greet().error, TemporaryFailure)


def test_broker_logout_of_a_dead_token_is_done_already(answer):
    """Any 401 but the gate's means that there is nothing left to end; no other error does."""
    answer({"message": "odd"}, 401).log_out(TOKEN)
    answer(b"<html>", 401).log_out(TOKEN)
    answer(*refused("UDAPI100050")).log_out(TOKEN)
    answer(*refused("UDAPI100050", 400)).log_out(TOKEN)
    with pytest.raises(CallNotAllowed):
        answer(*refused("UDAPI1221")).log_out(TOKEN)
    for status in (403, 429, 500):
        with pytest.raises(TemporaryFailure):
            answer({}, status).log_out(TOKEN)


names = st.sampled_from(
    [
        *("access_token", "refresh_token", "extended_token", "user_id", "expires_in", "data"),
        *("status", "error", "errors", "last_price", "instrument_token", "error_code"),
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**308, 10**320)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["UDAPI100050", "NSE_INDEX|Nifty 50", "a.e30.c", jwt(exp=-1), jwt(exp=1e300)])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=40) | st.dictionaries(names, values) | values, st.integers(200, 599))
def test_broker_any_body_is_a_reply_or_an_error_of_ours(answer, body, status):
    """Whatever JSON or bytes come back, each call ends in a value or a TokenError."""
    upstox = answer(body, status)
    for call in (
        *("exchange_code", "refresh", "last_price", "check_life", "user_id", "log_out"),
        *("profile", "feed_address"),
    ):
        try:
            getattr(upstox, call)(TOKEN)
        except TokenError:
            continue
