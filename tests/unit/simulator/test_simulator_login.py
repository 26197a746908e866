"""The login dialog and the token endpoint, as Upstox documents them."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from unit.simulator.practice import CREDENTIALS, PROFILE, REDIRECT, TOKEN, error_of

from broker_tokens.simulator.broker import Request


def test_dialog_redirects_with_code_and_state(client):
    """Consent answers with a short code and the state."""
    response = client.dialog(state="s1")
    address = urlsplit(response.headers["Location"])
    answer = parse_qs(address.query)

    assert response.status == 302
    assert response.headers["Location"].startswith(REDIRECT + "?")
    assert answer["state"] == ["s1"]
    assert len(answer["code"][0]) == 6


def test_state_comes_back_percent_encoded(client):
    """A state with delimiters and line breaks survives and adds nothing to the address."""
    location = client.dialog(state="a b&code=x\r\nSet-Cookie: y#é").headers["Location"]

    assert "state=a%20b%26code%3Dx%0D%0ASet-Cookie%3A%20y%23%C3%A9" in location


def test_no_state_sent_none_returned(client):
    """State is optional."""
    assert "state" not in client.dialog(state=None).headers["Location"]


def test_redirect_address_may_have_a_query(client_of):
    """The code joins a query that is already there."""
    address = "http://localhost:3000/callback?app=1"
    client = client_of(redirect_uri=address)

    assert client.dialog(redirect_uri=address).headers["Location"].startswith(address + "&code=")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"client_id": None},
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": "http://127.0.0.1:3000/callback"},
        {"response_type": "token"},
        {"response_type": None},
    ],
)
def test_dialog_refuses_what_is_not_registered(client, changes):
    """A failure of the dialog is a JSON error, never a redirect."""
    response = client.dialog(**changes)

    assert error_of(response) == (400, "UDAPI100068")
    assert "Location" not in response.headers


def test_dialog_without_redirect_uri(client):
    """The OpenAPI document gives the missing address a code of its own."""
    assert error_of(client.dialog(redirect_uri=None)) == (400, "UDAPI1018")


def test_token_reply_is_not_wrapped(client):
    """The reply is the profile with the tokens, and no `status` or `data` around it."""
    reply = client.exchange().json()

    assert set(reply) == {
        *("email", "exchanges", "products", "broker", "user_id", "user_name", "order_types"),
        *("user_type", "poa", "ddpi", "is_active", "access_token", "extended_token"),
    }
    assert reply["user_id"] == "SIM001"
    assert isinstance(reply["extended_token"], str)


def test_token_of_the_exchange_is_live(client):
    """What the exchange gives opens the profile."""
    token = client.exchange().json()["access_token"]

    assert client.broker.is_live(token)
    assert client.get(PROFILE, token).json()["data"]["user_id"] == "SIM001"


@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("client_id", "UDAPI1017"),
        ("client_secret", "UDAPI1024"),
        ("grant_type", "UDAPI1023"),
        ("code", "UDAPI1022"),
        ("redirect_uri", "UDAPI1018"),
    ],
)
def test_each_field_is_required(client, field, code, missing):
    """A field that is absent or empty is named by its own code."""
    response = client.exchange(**{field: missing})

    assert error_of(response) == (400, code)
    assert response.json()["errors"][0]["property_path"] == field


@pytest.mark.parametrize("field", ["client_id", "client_secret"])
@pytest.mark.parametrize("rest", [{}, {"grant_type": "placeholder"}, {"code": None}])
def test_credentials_are_checked_before_grant_and_code(client, field, rest):
    """Wrong credentials are the first thing the broker says."""
    assert error_of(client.exchange(**{field: "wrong"} | rest)) == (401, "UDAPI100069")


def test_redirect_uri_must_match(client):
    """A trailing slash counts."""
    assert error_of(client.exchange(redirect_uri=REDIRECT + "/")) == (400, "UDAPI100070")


def test_unknown_code(client):
    """A code that was never given out is refused."""
    assert error_of(client.exchange(code="zzzzzz")) == (401, "UDAPI100057")


def test_code_works_once(client):
    """The second exchange of one code is refused and makes no token."""
    code = client.code()
    first, second = client.exchange(code=code), client.exchange(code=code)

    assert first.status == 200
    assert error_of(second) == (401, "UDAPI100057")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": "wrong"},
        {"client_id": None},
        {"redirect_uri": REDIRECT + "/"},
        {"grant_type": "placeholder"},
    ],
)
def test_failed_exchange_spends_the_code(client, changes):
    """A code is single use whether or not the exchange succeeded."""
    code = client.code()
    assert client.exchange(code=code, **changes).status >= 400

    assert error_of(client.exchange(code=code)) == (401, "UDAPI100057")


def test_code_expires(client, clock):
    """A code is good until its life is over, and not at that second."""
    early, late = client.code(), client.code()
    clock.advance(seconds=119)
    assert client.exchange(code=early).status == 200
    clock.advance(seconds=1)

    assert error_of(client.exchange(code=late)) == (401, "UDAPI100057")


def test_code_life_is_a_switch(client_of, clock):
    """How long a code lives is undocumented."""
    client = client_of(code_life=timedelta(seconds=10))
    code = client.code()
    clock.advance(seconds=10)

    assert error_of(client.exchange(code=code)) == (401, "UDAPI100057")


def test_undocumented_status_is_a_switch(client_of):
    """The status of most login codes is undocumented."""
    client = client_of(statuses={"UDAPI100069": 400})

    assert error_of(client.exchange(client_secret="wrong")) == (400, "UDAPI100069")


def test_refresh_grant_is_refused_as_documented(client):
    """Without a refresh grant such a form fails for want of a code."""
    assert error_of(client.refresh("anything")) == (400, "UDAPI1022")
    assert error_of(client.refresh("anything", client_secret="x")) == (401, "UDAPI100069")


def test_json_body_is_no_form(client):
    """The endpoint reads form fields only."""
    request = Request("POST", TOKEN, {}, {"Content-Type": "application/json"}, b'{"code": "a"}')

    assert error_of(client.broker.handle(request)) == (400, "UDAPI1017")


def test_absurd_form_has_no_fields(client):
    """A form with thousands of fields costs nothing."""
    form = CREDENTIALS | {f"f{number}": "1" for number in range(1000)}

    assert error_of(client.post_form(form)) == (400, "UDAPI1017")


def test_whoever_consents_gets_the_token(client):
    """Another user in the dialog means a token of another account."""
    client.broker.user_id = "OTHER1"

    assert client.exchange().json()["user_id"] == "OTHER1"


def test_extended_token_is_reused_unless_refreshed(client):
    """A new extended token comes only with `refresh_extended_token=true`."""
    first, again = (client.exchange().json()["extended_token"] for _ in range(2))
    renewed = client.exchange(refresh_extended_token="true").json()["extended_token"]
    later = client.exchange(refresh_extended_token="false").json()["extended_token"]

    assert first == again != renewed == later


def test_refused_values_are_not_echoed(client):
    """No refusal repeats a secret, mistyped or not."""
    assert b"mistyped" not in client.exchange(client_secret="mistyped").body
    assert b"mistyped" not in client.exchange(code="mistyped").body
