"""Half a reply of the token endpoint: the broker has renewed, and the connection broke off."""

import pytest
from support.hostile import http, texts_of

from broker_tokens.errors import TemporaryFailure
from broker_tokens.http_message import BrokenOff, Reply
from broker_tokens.secrets import Secret

ACCESS, ROTATED = '"access_token":"a1"', '"refresh_token": "rotated-7.x=="'
HALVES = {
    "the next refresh token is whole": ("{" + ROTATED + ',"acc', "rotated-7.x=="),
    "it ends with it": ("{" + ACCESS + "," + ROTATED, "rotated-7.x=="),
    "its end is missing": ("{" + ACCESS + "," + ROTATED[:-1], None),
    "two of them": ("{" + ROTATED + "," + ROTATED + ",", None),
    "a text that is no object": ("<p>" + ROTATED + "</p>", None),
    "no token": ("{" + ACCESS, None),
    "one that no header could carry": ('{"refresh_token":"a b",', None),
}


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("is_short", [True, False])
def test_broker_half_a_reply_hands_over_its_refresh_token(serve, upstox_at, name, is_short):
    """Where the broker has renewed and the reply breaks off, its next refresh token is not lost."""
    body, expected = HALVES[name]
    length = len(body) + 100 * is_short
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    with pytest.raises(TemporaryFailure) as caught:
        upstox_at(serve(reply.encode()).url).refresh(Secret("spent"))

    found = getattr(caught.value, "refresh_token", None)
    assert (found.reveal() if found else None) == expected
    assert caught.value.request_sent
    assert "rotated" not in "".join(texts_of(caught.value))


def test_broker_a_refusal_hands_over_nothing(serve, upstox_at):
    """Only a reply that says yes can carry a refresh token."""
    with pytest.raises(TemporaryFailure) as caught:
        upstox_at(serve(http(500, "{" + ROTATED + ",")).url).refresh(Secret("spent"))

    assert not hasattr(caught.value, "refresh_token")


def test_a_reply_shows_nothing_of_what_it_holds():
    """A hostile server may echo what it was sent, in a header too."""
    reply = Reply(200, {"link": "planted-echo"}, b"planted-echo")

    assert "planted" not in repr(BrokenOff("Cut.", "Again.", reply).reply)
