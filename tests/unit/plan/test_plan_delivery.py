"""What comes to the notifier: a claim, read strictly (Upstox docs, Notifier Webhook)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.house import ist
from unit.plan.looks import jwt
from unit.plan.moments import many

from broker_tokens.renewals.phone_approval import read_delivery
from broker_tokens.secrets import redact

# The documented example, to the letter but for the texts.
GOOD = {
    "client_id": "i",
    "user_id": "4HCYNF",
    "access_token": "planted-t0ken",
    "token_type": "Bearer",
    "expires_at": "1731448800000",
    "issued_at": "1731412800000",
    "message_type": "access_token",
}


def body(**changes) -> bytes:
    """Return the example with changes; a field of None is left out."""
    fields = {**GOOD, **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


def test_the_documented_example_is_read():
    """Every field of it, the times as instants."""
    delivery = read_delivery(body())

    assert delivery.token.reveal() == "planted-t0ken"
    assert (delivery.client_id, delivery.user_id) == ("i", "4HCYNF")
    assert delivery.expires_at == ist("2024-11-13 03:30")
    assert delivery.issued_at == ist("2024-11-12 17:30")


def test_what_else_may_be_right_is_read_too():
    """Times as numbers, fields that nobody knows yet, any encoding JSON allows, blanks."""
    expected = read_delivery(body())

    for other in (
        body(expires_at=1731448800000, issued_at=1731412800000),
        body(extended_token="later", data={"nested": [1, None]}),
        json.dumps(GOOD, indent=4).encode("utf-16"),
        json.dumps(GOOD).encode("utf-8-sig"),
        b"\r\n " + body() + b" \n",
    ):
        assert read_delivery(other) == expected
    token = jwt(ist("2026-11-21 03:30"), sub="4HCYNF")
    assert read_delivery(body(access_token=token.reveal())).token == token


NOT_TEXT = [None, "", 5, True, ["x"], {"x": 1}, 1.5]
NOT_TIME = [
    *(None, "", "soon", True, [], {}, 1731448800, "1731448800", 1731448800000.0, "1731448800000.0"),
    *(-1731448800000, "-1731448800000", " 1731448800000", "1731448800000\n", "0x1931f0c3d00"),
    *("17314488000000", 10**13, 10**300, "9" * 400, "2024-11-13T03:30:00+05:30"),
    "\u0967\u096d\u0969\u0967\u096a\u096a\u096e\u096e\u0966\u0966\u0966\u0966\u0966",
]
NOT_TOKEN = [
    *(*NOT_TEXT, "two words", "line\nbreak", "tail\n", "\0", "t\u00f6ken", "\ud800", "\udcff"),
    "t" * 8001,
]
WRONG = {
    "client_id": NOT_TEXT,
    "user_id": NOT_TEXT,
    "access_token": NOT_TOKEN,
    "token_type": [*NOT_TEXT, "bearer", "Basic", "Bearer "],
    "message_type": [*NOT_TEXT, "order_update", "Access_Token", "access_token "],
    "expires_at": NOT_TIME,
    "issued_at": NOT_TIME,
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, id=f"{key}-{place}")
        for key in WRONG
        for place, value in enumerate(WRONG[key])
    ],
)
def test_a_field_that_is_missing_or_of_another_kind_spoils_it(key, value):
    """None is guessed; the reason never repeats what came."""
    with pytest.raises(ValueError, match="^(no |another kind)") as caught:
        read_delivery(body(**{key: value}))

    assert "t0ken" not in str(caught.value)


NOT_JSON = {
    "nothing": b"",
    "a form": b"access_token=t&client_id=i",
    "a list": json.dumps([GOOD]).encode(),
    "a text": b'"access_token"',
    "a number": b"5",
    "null": b"null",
    "cut short": body()[:-1],
    "two objects": body() + body(),
    "wrong bytes": b'{"client_id": "\xff\xfe"}',
    "a deep nest": b"[" * 200_000,
    "a nest with an end": b"[" * 100_000 + b"]" * 100_000,
    "an endless number": b'{"issued_at": ' + b"1" * 100_000 + b"}",
    "not a number": b"NaN",
}


@pytest.mark.parametrize("content", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_object_is_refused(content):
    """As malformed, whatever its size or depth."""
    with pytest.raises(ValueError, match="not JSON"):
        read_delivery(content)


@pytest.mark.parametrize("depth", [10, 200, 400, 600, 800, 900, 950, 970, 990])
def test_a_nest_in_a_field_is_refused_at_any_depth(depth):
    """What the reader of JSON can just bear must not fell what comes after it."""
    nest = b"[" * depth + b"]" * depth
    content = body().replace(b'"1731412800000"', nest)

    with pytest.raises(ValueError, match="no issued_at|not JSON"):
        read_delivery(content)


def test_a_forged_token_does_not_disturb_the_log():
    """Each log line is searched for every secret alive: one that cannot be searched for is none."""
    with pytest.raises(ValueError, match="no access_token|no token") as caught:
        read_delivery(body(access_token="\ud800-not-a-text"))

    assert redact("a line of the log") == "a line of the log", caught  # its frames are still alive


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read_or_refuse(content: bytes) -> None:
    try:
        delivery = read_delivery(content)
    except ValueError:
        return
    assert delivery.token.is_well_formed
    assert delivery.client_id
    assert delivery.user_id
    assert None not in (delivery.expires_at.tzinfo, delivery.issued_at.tzinfo)


@many
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_but_a_value_error(content):
    """Bytes or JSON of any kind."""
    read_or_refuse(content)


@many
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), json_values, max_size=3))
def test_nor_does_the_example_with_anything_in_its_fields(changes):
    """What passes has a token that can be sent, and aware times."""
    read_or_refuse(json.dumps({**GOOD, **changes}).encode())
