"""The server is what the other integration tests take it for, proven without our own client."""

import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from integration.oauth_server import fixture
from integration.oauth_server.fixture import (
    fingerprint,
    require_server,
    running_server,
    token_requests,
    why_unavailable,
)
from integration.oauth_server.person import log_in

CLIENT_ID = "a-client"
CLIENT_SECRET = "its secret & more"
REDIRECT_URI = "http://localhost:3000/callback"


@pytest.fixture(scope="module")
def server():
    require_server()
    with running_server(CLIENT_ID, CLIENT_SECRET, REDIRECT_URI) as url:
        yield url


@pytest.fixture
def token(server):
    """Posts a form to the token endpoint."""
    with requests.Session() as session:
        session.trust_env = False

        def post(**form):
            client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
            return session.post(
                f"{server}/v2/login/authorization/token", data=client | form, timeout=30
            )

        yield post


def callback(server, state="a state"):
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "state": state,
    }
    return log_in(f"{server}/v2/login/authorization/dialog?{urlencode(query)}")


def code_exchange(server, token):
    code = parse_qs(urlsplit(callback(server)).query)["code"][0]
    return token(grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI)


def refresh(token, refresh_token):
    return token(grant_type="refresh_token", refresh_token=refresh_token)


def assert_invalid_grant(answer):
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_login_gives_a_code_and_the_state_back(server):
    state = secrets.token_urlsafe(32)

    address = callback(server, state)

    query = parse_qs(urlsplit(address).query)
    assert address.startswith(f"{REDIRECT_URI}?")
    assert query["state"] == [state]
    assert query["code"][0]


def test_a_code_gives_an_access_token_for_an_hour_and_a_refresh_token(server, token):
    answer = code_exchange(server, token)

    tokens = answer.json()
    assert answer.status_code == 200
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    assert "." not in tokens["access_token"], "opaque, not a JWT"
    assert tokens["refresh_token"]
    assert "id_token" not in tokens


def test_a_refresh_gives_new_tokens_every_time(server, token):
    tokens = [code_exchange(server, token).json()]
    for _ in range(3):
        answer = refresh(token, tokens[-1]["refresh_token"])
        assert answer.status_code == 200
        tokens.append(answer.json())

    assert len({pair["refresh_token"] for pair in tokens}) == 4
    assert len({pair["access_token"] for pair in tokens}) == 4


def test_a_spent_refresh_token_is_refused_and_ends_its_family(server, token):
    spent = code_exchange(server, token).json()["refresh_token"]
    successor = refresh(token, spent).json()["refresh_token"]
    another_family = code_exchange(server, token).json()["refresh_token"]

    assert_invalid_grant(refresh(token, spent))
    assert_invalid_grant(refresh(token, successor))
    assert refresh(token, another_family).status_code == 200


def test_a_wrong_secret_is_refused_and_spends_nothing(server, token):
    refresh_token = code_exchange(server, token).json()["refresh_token"]

    refused = token(grant_type="refresh_token", refresh_token=refresh_token, client_secret="wrong")

    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert refresh(token, refresh_token).status_code == 200


def test_the_server_tells_which_token_requests_it_received(server, token):
    before = len(token_requests(server))
    first = code_exchange(server, token).json()["refresh_token"]
    refresh(token, first)
    refresh(token, first)
    refresh(token, "never issued")
    token(grant_type="refresh_token", refresh_token=first, client_secret="wrong")

    seen = [tuple(request.values()) for request in token_requests(server)[before:]]
    assert seen == [
        ("authorization_code", None, 200, None),
        ("refresh_token", fingerprint(first), 200, None),
        ("refresh_token", fingerprint(first), 400, "invalid_grant"),
        ("refresh_token", fingerprint("never issued"), 400, "invalid_grant"),
        ("refresh_token", fingerprint(first), 401, "invalid_client"),
    ]


def test_a_server_that_cannot_start_says_why():
    require_server()
    with (
        pytest.raises(RuntimeError, match="redirect_uris"),
        running_server(CLIENT_ID, CLIENT_SECRET, "no address"),
    ):
        pass


def test_the_person_reports_a_page_that_is_no_form(server):
    with pytest.raises(RuntimeError, match="invalid_client"):
        log_in(f"{server}/v2/login/authorization/dialog?response_type=code&client_id=unknown")


def test_a_missing_module_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(fixture.shutil, "which", lambda name: name)
    monkeypatch.setenv("OAUTH_SERVER_MODULES", str(tmp_path))

    assert "oidc-provider is not installed" in why_unavailable()


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_without_node_a_test_is_skipped_but_fails_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setattr(fixture.shutil, "which", lambda name: None)
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome.Exception, match="node is not installed"):
        require_server()
