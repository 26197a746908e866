"""The calls that use a token, addresses that do not exist, and what is recorded."""

import pytest
from unit.simulator.practice import DIALOG, FEED, LOGOUT, LTP, ORDER, PROFILE, TOKEN, error_of

from broker_tokens.simulator.broker import MAX_RECORDED, Request


@pytest.fixture
def token(broker):
    return broker.mint()


def test_profile(client, token):
    """The profile is wrapped and has no token in it."""
    reply = client.get(PROFILE, token).json()

    assert reply["status"] == "success"
    assert reply["data"]["user_id"] == "SIM001"
    assert not {"access_token", "extended_token"} & set(reply["data"])


def test_ltp_reply_key_differs_from_request_key(client, token):
    """The instrument is recognised by `instrument_token`; numbers are numbers."""
    data = client.ltp(token, "NSE_INDEX|Nifty 50").json()["data"]
    quote = data["NSE_INDEX:Nifty 50"]

    assert set(data) == {"NSE_INDEX:Nifty 50"}
    assert quote["instrument_token"] == "NSE_INDEX|Nifty 50"
    assert isinstance(quote["last_price"], float)


def test_ltp_of_several(client, token):
    """Keys are separated by commas."""
    data = client.ltp(token, "NSE_INDEX|Nifty 50,NSE_EQ|INE848E01016").json()["data"]

    assert set(data) == {"NSE_INDEX:Nifty 50", "NSE_EQ:NHPC"}
    assert data["NSE_EQ:NHPC"]["volume"] > 0


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "UDAPI1009"),
        ("Nifty 50", "UDAPI1011"),
        ("NSE_INDEX:Nifty 50", "UDAPI1011"),
        ("NSE_INDEX|Nifty 50,", "UDAPI1011"),
        ("NSE_INDEX|Nifty 51", "UDAPI1087"),
        (",".join(["NSE_INDEX|Nifty 50"] * 501), "UDAPI100043"),
    ],
)
def test_ltp_errors(client, token, key, code):
    """Each wrong key has the documented code."""
    assert error_of(client.ltp(token, key)) == (400, code)


def test_token_is_checked_before_the_key(client):
    """Without a token nothing else is said."""
    assert error_of(client.ltp(None, "")) == (401, "UDAPI100050")


def test_feed_address_is_one_time(client, token):
    """Each authorization gives an address of its own, in both spellings."""
    first, second = (client.get(FEED, token).json()["data"] for _ in range(2))

    assert first["authorized_redirect_uri"] == first["authorizedRedirectUri"]
    assert first["authorized_redirect_uri"].startswith("wss://")
    assert "requestId=" in first["authorized_redirect_uri"]
    assert first != second


def test_feed_that_is_refused(client, token):
    """A switch: 403 with the code, while the token lives."""
    client.broker.feed_refusal = "UDAPI1149"

    assert error_of(client.get(FEED, token)) == (403, "UDAPI1149")
    assert client.get(PROFILE, token).status == 200


def test_analytics_token(client, clock):
    """Made by hand, a year, for reading: prices and feed, but neither profile nor orders."""
    first, second = client.broker.mint_analytics(), client.broker.mint_analytics()
    clock.advance(days=364)

    assert client.ltp(first).status == 401, "a new one ends the old"
    assert client.ltp(second).status == client.get(FEED, second).status == 200
    assert error_of(client.get(PROFILE, second)) == (401, "UDAPI1221")
    assert error_of(client.get(ORDER, second, "POST")) == (401, "UDAPI1221")
    clock.advance(days=1)
    assert client.ltp(second).status == 401


def test_unknown_address(client, token):
    """An unknown path is not found."""
    assert error_of(client.get("/v2/nothing", token)) == (404, "UDAPI100060")


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        (DIALOG, "POST", "GET"),
        (TOKEN, "GET", "POST"),
        (PROFILE, "DELETE", "GET"),
        (LTP, "POST", "GET"),
        (LOGOUT, "POST", "DELETE"),
        (FEED, "PUT", "GET"),
    ],
)
def test_wrong_method(client, token, path, wrong, right):
    """A known path with another method is 405 and names the right one."""
    response = client.get(path, token, method=wrong)

    assert response.status == 405
    assert response.headers["Allow"] == right
    assert client.broker.is_live(token)


def test_error_envelope_has_both_spellings(client):
    """The documented names and their deprecated twins are both there."""
    reply = client.get(PROFILE, None).json()
    (problem,) = reply["errors"]

    assert reply["status"] == "error"
    assert set(problem) == {
        *("error_code", "message", "property_path", "invalid_value"),
        *("errorCode", "propertyPath", "invalidValue"),
    }


def test_requests_are_recorded(client, clock):
    """What was sent, when, and how it was answered is there for tests to read."""
    code = client.code()
    client.exchange(code=code)
    client.refresh("old-token")
    dialog, exchange, refresh = client.broker.requests

    assert dialog.endpoint == "dialog"
    assert (exchange.endpoint, exchange.status, exchange.at) == ("token", 200, clock.now)
    assert exchange.form["code"] == code
    assert refresh.form["grant_type"] == "refresh_token"
    assert refresh.form["refresh_token"] == "old-token"
    assert (refresh.status, refresh.error_code) == (400, "UDAPI1022")
    assert client.broker.token_requests == 2


def test_records_do_not_show_secrets_by_themselves(client):
    """A record in a failed test's output shows no form and no token."""
    client.exchange()
    client.get(PROFILE, "planted-token")

    assert "sim-secret" not in repr(client.broker.requests)
    assert "planted-token" not in repr(
        Request("GET", "/", headers={"Authorization": "planted-token"})
    )


def test_record_is_bounded(client):
    """A simulator left running does not fill the memory."""
    for number in range(MAX_RECORDED + 5):
        client.get(f"/{number}", None)

    assert len(client.broker.requests) == MAX_RECORDED


def test_listener_hears_of_each_request_and_may_ask_back(client_of):
    """The listener runs outside the lock."""
    heard = []
    client = client_of(on_request=lambda record: heard.append((record.endpoint, broker.requests)))
    broker = client.broker
    client.dialog()

    assert [endpoint for endpoint, _ in heard] == ["dialog"]
