"""Upstox's error table, row by row, at each kind of call."""

import json
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import texts_of
from support.house import ist

from broker_tokens.brokers import CallNotAllowed
from broker_tokens.brokers.upstox_errors import Call, error_for
from broker_tokens.errors import (
    EXIT_CONFIGURATION,
    EXIT_DEFECT,
    EXIT_PERSON,
    EXIT_TEMPORARY,
    ConfigurationError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.http_message import Reply

NOW = ist("2026-11-20 09:00")
EXIT_CODES = {
    TokenRejected: EXIT_PERSON,
    CallNotAllowed: EXIT_PERSON,
    ConfigurationError: EXIT_CONFIGURATION,
    TemporaryFailure: EXIT_TEMPORARY,
    TokenError: EXIT_DEFECT,
}

REJECTED, ALLOWED_NOT, CONFIG = TokenRejected, CallNotAllowed, ConfigurationError
TEMPORARY, DEFECT = TemporaryFailure, TokenError

# code: what it is at the code exchange, at the refresh grant, at a bearer call
TABLE = {
    "UDAPI100050": (REJECTED, REJECTED, REJECTED),
    "UDAPI100057": (REJECTED, REJECTED, TEMPORARY),
    "UDAPI1022": (REJECTED, REJECTED, TEMPORARY),
    "UDAPI100058": (REJECTED, REJECTED, REJECTED),
    "UDAPI100067": (ALLOWED_NOT, ALLOWED_NOT, ALLOWED_NOT),
    "UDAPI1149": (ALLOWED_NOT, ALLOWED_NOT, ALLOWED_NOT),
    "UDAPI1221": (ALLOWED_NOT, ALLOWED_NOT, ALLOWED_NOT),
    "UDAPI1154": (ALLOWED_NOT, ALLOWED_NOT, ALLOWED_NOT),
    "UDAPI100016": (CONFIG, CONFIG, TEMPORARY),
    "UDAPI100068": (CONFIG, CONFIG, CONFIG),
    "UDAPI100069": (CONFIG, CONFIG, CONFIG),
    "UDAPI100070": (CONFIG, REJECTED, CONFIG),
    "UDAPI100073": (CONFIG, CONFIG, CONFIG),
    "UDAPI1017": (CONFIG, CONFIG, CONFIG),
    "UDAPI1018": (CONFIG, REJECTED, CONFIG),
    "UDAPI1023": (CONFIG, REJECTED, CONFIG),
    "UDAPI1024": (CONFIG, CONFIG, CONFIG),
    "UDAPI1123": (CONFIG, CONFIG, CONFIG),
    "UDAPI1124": (CONFIG, CONFIG, CONFIG),
    "UDAPI1155": (CONFIG, CONFIG, CONFIG),
    "UDAPI1157": (CONFIG, CONFIG, CONFIG),
    **dict.fromkeys(
        ["UDAPI10005", "UDAPI100099", "UDAPI100500", "UDAPI100072", "UDAPI100074"],
        (TEMPORARY, TEMPORARY, TEMPORARY),
    ),
    **dict.fromkeys(
        ["UDAPI10000", "UDAPI100060", "UDAPI100036", "UDAPI100038", "UDAPI100015"],
        (DEFECT, DEFECT, DEFECT),
    ),
    **dict.fromkeys(
        ["UDAPI1009", "UDAPI1011", "UDAPI1087", "UDAPI100043"], (DEFECT, DEFECT, DEFECT)
    ),
}
CALLS = (Call.CODE, Call.REFRESH, Call.BEARER)
ROWS = [
    pytest.param(code, call, kind, id=f"{code}-{call.name.lower()}")
    for code, kinds in TABLE.items()
    for call, kind in zip(CALLS, kinds, strict=True)
]


def reply(status, body=b"", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {k.replace("_", "-"): v for k, v in headers.items()}, content)


def refusal(status, *codes, spelling="error_code"):
    errors = [{spelling: code, "message": "PLANTED", "invalid_value": "PLANTED"} for code in codes]
    return reply(status, {"status": "error", "errors": errors})


def check(error, kind):
    """An error has exactly this kind, its exit code, and one sentence in one line."""
    found = CallNotAllowed if isinstance(error, CallNotAllowed) else type(error)
    assert found is kind
    assert error.exit_code == EXIT_CODES[kind]
    assert error.cause.endswith(".")
    assert "\n" not in str(error)
    assert not [text for text in texts_of(error) if "PLANTED" in text]


@pytest.mark.parametrize("spelling", ["error_code", "errorCode"])
@pytest.mark.parametrize(("code", "call", "kind"), ROWS)
def test_broker_code_decides_not_the_status(code, call, kind, spelling):
    """A code means the same in both spellings and with whatever status it comes."""
    for status in (200, 400, 401, 403, 404, 423, 500):
        check(error_for(call, refusal(status, code, spelling=spelling), NOW), kind)


@pytest.mark.parametrize("call", Call)
def test_broker_code_is_named_for_the_report(call):
    """Every code of the table is in its message, except where a plain sentence says all."""
    for code in TABLE:
        error = error_for(call, refusal(400, code), NOW)
        assert code in error.cause or "429" in error.cause


@pytest.mark.parametrize("call", Call)
def test_broker_unknown_code_is_temporary_and_named(call):
    """A code that we do not know is no verdict on token, code or credentials, a 401 included."""
    for status in (200, 400, 401, 403, 422, 500):
        error = error_for(call, refusal(status, "UDAPI999999"), NOW)

        is_refused_feed = (call, status) == (Call.FEED, 403)
        check(error, CallNotAllowed if is_refused_feed else TemporaryFailure)
        assert "UDAPI999999" in error.cause


def test_broker_feed_that_is_forbidden_says_nothing_of_the_token():
    """Too many sockets, or not in the plan: only a person can change that; a page says nothing."""
    check(error_for(Call.FEED, reply(403, {}), NOW), CallNotAllowed)
    check(error_for(Call.FEED, reply(403, b"<html>"), NOW), TemporaryFailure)
    check(error_for(Call.BEARER, reply(403, {}), NOW), TemporaryFailure)


@pytest.mark.parametrize(
    "code", ["PLANTED", "UDAPI1\nPLANTED", ["UDAPI100050"], {"a": 1}, 1010, None]
)
@pytest.mark.parametrize("call", Call)
def test_broker_code_that_is_none_is_neither_taken_nor_shown(call, code):
    """What does not look like a code is not repeated: it may be anything."""
    check(error_for(call, refusal(400, code), NOW), TemporaryFailure)
    check(error_for(call, refusal(500, code, "UDAPI100500"), NOW), TemporaryFailure)
    check(error_for(call, refusal(200, code), NOW), TemporaryFailure)


def test_broker_several_entries_are_all_read():
    """A known code decides wherever it stands, in either spelling, also beside the list."""
    mixed = [
        {"errorCode": "UDAPI1"},
        "text",
        None,
        {"error_code": None, "errorCode": "UDAPI100050"},
    ]
    for body in (
        {"errors": mixed},
        {"errors": {"error_code": "UDAPI100050"}},
        {"error_code": "UDAPI100050", "errors": None},
        {"errors": [{"error_code": "UDAPI1", "errorCode": "UDAPI100050"}]},
    ):
        check(error_for(Call.BEARER, reply(400, body), NOW), TokenRejected)


def test_broker_trouble_outranks_a_verdict():
    """With a passing trouble among the codes, no token, code or credential is given up."""
    for verdict in ("UDAPI100050", "UDAPI100057", "UDAPI100069", "UDAPI100058"):
        for trouble in ("UDAPI100500", "UDAPI10005"):
            for call in Call:
                check(error_for(call, refusal(400, verdict, trouble), NOW), TemporaryFailure)


STANDARD = {
    "invalid_grant": (REJECTED, REJECTED, TEMPORARY),
    "invalid_client": (CONFIG, CONFIG, TEMPORARY),
    "unauthorized_client": (CONFIG, REJECTED, TEMPORARY),
    "unsupported_grant_type": (REJECTED, REJECTED, TEMPORARY),
    "invalid_request": (REJECTED, REJECTED, TEMPORARY),
    "invalid_scope": (REJECTED, REJECTED, TEMPORARY),
    "temporarily_unavailable": (TEMPORARY, TEMPORARY, TEMPORARY),
    "PLANTED": (TEMPORARY, TEMPORARY, TEMPORARY),
}


@pytest.mark.parametrize(
    ("word", "call", "kind"),
    [
        (word, call, kind)
        for word, kinds in STANDARD.items()
        for call, kind in zip(CALLS, kinds, strict=True)
    ],
)
def test_broker_standard_errors_count_at_the_token_endpoint_alone(word, call, kind):
    """RFC 6749 section 5.2 speaks of token requests: it condemns no access token."""
    body = {"error": word, "error_description": "PLANTED"}

    check(error_for(call, reply(400, body), NOW), kind)
    check(error_for(call, reply(200, body), NOW), kind)


@pytest.mark.parametrize("call", Call)
def test_broker_standard_error_of_a_failing_server_is_no_verdict(call):
    """A server in trouble (5xx) condemns no refresh token for good."""
    for word in STANDARD:
        check(error_for(call, reply(500, {"error": word}), NOW), TemporaryFailure)


HTML = b"<html><title>PLANTED</title></html>"
BLOCKED = [
    reply(403, b"error code: 1010"),
    reply(403, HTML, cf_ray="8f-BOM"),
    reply(403, HTML, server="cloudflare"),
    reply(429, b"error code: 1015", retry_after="30"),
    reply(429, HTML, cf_ray="8f-BOM", retry_after="30"),
    reply(503, b"<html>Just a moment... Cloudflare</html>"),
    reply(403, {"cloudflare_error": True, "error_code": 1010, "title": "PLANTED"}),
    reply(429, {"cloudflare_error": True, "error_code": 1015}, retry_after="30"),
]


@pytest.mark.parametrize("blocked", BLOCKED)
@pytest.mark.parametrize("call", Call)
def test_broker_block_by_cloudflare_is_called_so(call, blocked):
    """Cloudflare's refusals say nothing about token or credentials; its wait is kept."""
    error = error_for(call, blocked, NOW)

    check(error, TemporaryFailure)
    assert "blocked by Cloudflare" in error.cause
    assert error.retry_after == (timedelta(seconds=30) if blocked.status == 429 else None)
    assert error.request_sent


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404, 500, 502, 522])
@pytest.mark.parametrize("call", Call)
def test_broker_html_through_cloudflare_is_no_block(call, status):
    """All replies pass through Cloudflare and carry its header; other statuses are the origin's."""
    error = error_for(call, reply(status, HTML, cf_ray="8f-BOM", server="cloudflare"), NOW)

    check(error, TemporaryFailure)
    assert "blocked" not in error.cause


@pytest.mark.parametrize("body", [b"", b"  ", HTML, b"[1]", b"null", b'"text"', b"{", b"\xff\xfe"])
@pytest.mark.parametrize("status", [200, 201, 302, 307, 400, 401, 403, 404, 418, 500, 503])
@pytest.mark.parametrize("call", Call)
def test_broker_reply_that_is_no_json_object_is_temporary(call, status, body):
    """What Upstox did not write is no verdict, a 401 at the token endpoint included."""
    check(error_for(call, reply(status, body), NOW), TemporaryFailure)


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (400, (TEMPORARY, TEMPORARY, TEMPORARY)),
        (401, (CONFIG, CONFIG, TEMPORARY)),
        (403, (TEMPORARY, TEMPORARY, TEMPORARY)),
        (429, (TEMPORARY, TEMPORARY, TEMPORARY)),
        (500, (TEMPORARY, TEMPORARY, TEMPORARY)),
        (503, (TEMPORARY, TEMPORARY, TEMPORARY)),
    ],
)
def test_broker_status_decides_where_there_is_no_code(status, kinds):
    """RFC 6749 keeps 401 at the token endpoint for credentials; a bearer call needs the code."""
    for call, kind in zip(CALLS, kinds, strict=True):
        check(error_for(call, reply(status, {"message": "PLANTED"}), NOW), kind)


def test_broker_users_find_the_words_they_search_for():
    """Messages begin with the texts that the documentation promises."""
    assert error_for(Call.BEARER, refusal(401, "UDAPI100050"), NOW).cause.startswith(
        "Token is expired or invalid"
    )
    assert error_for(Call.BEARER, refusal(401, "UDAPI1221"), NOW).cause.startswith("403 Forbidden")
    assert error_for(Call.BEARER, reply(401, {}), NOW).cause.startswith("401 Unauthorized")
    assert error_for(Call.BEARER, reply(403, {}), NOW).cause.startswith("403 Forbidden")


@pytest.mark.parametrize("call", Call)
def test_broker_success_is_no_error(call):
    """A JSON object with a 2xx status and no error in it is a success."""
    for body in ({}, {"status": "success", "data": True}, {"errors": None}, {"errors": []}):
        assert error_for(call, reply(200, body), NOW) is None


def test_broker_reply_that_calls_itself_an_error_is_one():
    """A 200 whose `status` says error is no success, even with nothing else in it."""
    check(error_for(Call.BEARER, reply(200, {"status": "error"}), NOW), TemporaryFailure)


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta(0)),
        ("30", timedelta(seconds=30)),
        ("00000000000030", timedelta(seconds=30)),
        ("86401", DAY),
        ("9" * 5000, DAY),
        (format_datetime(NOW + timedelta(minutes=5)), timedelta(minutes=5)),
        ("Fri, 20 Nov 2026 03:35:00 GMT", timedelta(minutes=5)),
        ("Fri, 20 Nov 2026 03:35:00 -0000", timedelta(minutes=5)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        ("Thu, 01 Jan 1970 00:00:00 GMT", timedelta(0)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("5, 5", None),
        ("\u0665", None),
        ("Fri, 20 Nov 99999999999999999999 03:35:00 GMT", None),
        ("Fri, 20 Nov 2026 03:35:00 +99999999999999", None),
        ("Fri, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_broker_retry_after_is_seconds_or_a_date_and_at_most_a_day(text, wait):
    """RFC 9110 section 10.2.3; what cannot be read is as if it were not there."""
    error = error_for(Call.BEARER, reply(429, {}, retry_after=text), NOW)

    check(error, TemporaryFailure)
    assert error.retry_after == wait


def test_broker_retry_after_of_a_server_in_trouble_is_kept():
    """503 is the other status that Retry-After is made for."""
    assert error_for(Call.CODE, reply(503, {}, retry_after="60"), NOW).retry_after == timedelta(
        seconds=60
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["errors", "error_code", "errorCode", "error", "status", "data", "user_id"]
            ),
            inner | st.sampled_from([*TABLE, *STANDARD]),
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | json_values


@given(
    st.sampled_from(Call),
    st.integers(100, 599),
    bodies,
    st.text(max_size=20) | st.from_regex(r"[0-9A-Za-z,: +-]{0,40}", fullmatch=True),
)
def test_broker_any_reply_at_all_is_judged(call, status, body, retry_after):
    """Whatever a server sends, the verdict is a TokenError or a success, never a crash."""
    error = error_for(call, reply(status, body, retry_after=retry_after), NOW)

    assert error is None or isinstance(error, TokenError)
    assert error is not None or 200 <= status < 300
