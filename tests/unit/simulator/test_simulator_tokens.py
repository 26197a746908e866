"""How tokens look, when they die, and what ends them early."""

import base64
import hmac
import json
from datetime import timedelta
from threading import Thread

import pytest
from unit.simulator.practice import FEED, LOGOUT, PROFILE, at, error_of

from broker_tokens.clock import IST
from broker_tokens.simulator.broker import Request
from broker_tokens.simulator.minting import Mint

EXPIRY_TABLE = [
    ("2026-11-20T02:30:00", "2026-11-20T03:30:00", 1795125600),
    ("2026-11-20T03:29:59", "2026-11-20T03:30:00", 1795125600),
    ("2026-11-20T03:30:00", "2026-11-21T03:30:00", 1795212000),
    ("2026-11-20T09:00:00", "2026-11-21T03:30:00", 1795212000),
    ("2026-09-12T13:57:47", "2026-09-13T03:30:00", 1789250400),
]


def parts_of(token):
    """Return a JWT's header and claims."""
    header, claims, _ = token.split(".")
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims)]


@pytest.mark.parametrize(("minted", "dead", "epoch"), EXPIRY_TABLE)
def test_tokens_die_at_the_next_0330_ist(client, clock, minted, dead, epoch):
    """The life of a token depends on nothing but the next 03:30 IST."""
    clock.now = at(minted)
    token = client.broker.mint()
    assert parts_of(token)[1]["exp"] == epoch == at(dead).timestamp()

    clock.now = at(dead) - timedelta(microseconds=1)
    assert client.ltp(token).status == 200
    clock.now = at(dead)
    assert error_of(client.ltp(token)) == (401, "UDAPI100050")
    assert not client.broker.is_live(token)


def test_published_token_has_its_times(client, clock):
    """A published token's `iat` fits the clock it was made at."""
    clock.now = at("2026-09-12T13:57:47")

    assert parts_of(client.broker.mint())[1]["iat"] == 1789201667


def test_header_and_claims(client):
    """The token's parts are those of published tokens; there is no scope and no audience."""
    header, claims = parts_of(client.broker.mint("USER42"))

    assert header == {"typ": "JWT", "key_id": "sk_v1.0", "alg": "HS256"}
    assert set(claims) == {"sub", "jti", "isMultiClient", "isPlusPlan", "iat", "iss", "exp"}
    assert claims["sub"] == "USER42"
    assert claims["iss"] == "udapi-gateway-service"


def test_signature_is_hs256(clock):
    """The signature is the one that the header announces."""
    mint = Mint()
    signed, _, signature = mint.access_token("U", clock.now, clock.now).rpartition(".")
    digest = hmac.digest(mint.key, signed.encode("ascii"), "sha256")

    assert base64.urlsafe_b64decode(signature + "=") == digest


def test_opaque_tokens_die_at_the_same_time(client_of, clock):
    """A token without claims keeps the rule all the same."""
    client = client_of(opaque_tokens=True)
    token = client.broker.mint()
    assert "." not in token
    assert client.broker.is_live(token)
    clock.now = at("2026-11-21T03:30:00")

    assert not client.broker.is_live(token)


@pytest.mark.parametrize("token", [None, "", "garbage", "é"])
def test_no_token_or_garbage(client, token):
    """A missing and a malformed token get one answer."""
    assert error_of(client.get(PROFILE, token)) == (401, "UDAPI100050")


def test_another_scheme_is_no_bearer(client):
    """The token counts as a bearer token only."""
    headers = {"Authorization": f"Basic {client.broker.mint()}"}
    request = Request("GET", PROFILE, headers=headers)

    assert error_of(client.broker.handle(request)) == (401, "UDAPI100050")


def test_claims_alone_open_nothing(client, client_of):
    """A well-formed token of another broker is refused."""
    assert error_of(client.ltp(client_of().broker.mint())) == (401, "UDAPI100050")


def test_logout_ends_the_token(client):
    """Logout answers `true`, once; the answer to a dead token is not the usual envelope."""
    token, other = client.broker.mint(), client.broker.mint()
    response = client.get(LOGOUT, token, method="DELETE")
    assert response.json() == {"status": "success", "data": True}

    assert error_of(client.ltp(token)) == (401, "UDAPI100050")
    assert client.ltp(other).status == 200
    again = client.get(LOGOUT, token, method="DELETE")
    assert again.status == 401
    assert "errors" not in again.json()


def test_revoke_one_or_all(client):
    """Tokens can be ended early, one or all; ending a dead one is no error."""
    first, second, third = (client.broker.mint() for _ in range(3))
    client.broker.revoke(first)
    client.broker.revoke(first)
    assert [client.broker.is_live(token) for token in (first, second, third)] == [False, True, True]
    client.broker.revoke_all()

    assert not any(client.broker.is_live(token) for token in (first, second, third))


def test_older_tokens_stay_live(client):
    """Two tokens of one user were both seen to work."""
    tokens = [client.broker.mint() for _ in range(2)]

    assert all(client.broker.is_live(token) for token in tokens)


def test_newest_token_only_is_a_switch(client_of):
    """Whether a newer token ends the older is undocumented; of another user it never does."""
    broker = client_of(newest_token_only=True).broker
    foreign, older, newer = broker.mint("OTHER1"), broker.mint(), broker.mint()

    assert [broker.is_live(token) for token in (foreign, older, newer)] == [True, False, True]


@pytest.mark.parametrize("path", [PROFILE, FEED])
def test_extended_token_is_of_the_wrong_kind(client, path):
    """An extended token is live, yet not allowed here, and is no access token."""
    extended = client.exchange().json()["extended_token"]

    assert error_of(client.get(path, extended)) == (403, "UDAPI100067")
    assert not client.broker.is_live(extended)


def test_extended_token_lives_a_year(client, clock):
    """After its year an extended token is as dead as any."""
    extended = client.exchange().json()["extended_token"]
    clock.advance(days=364)
    assert error_of(client.get(PROFILE, extended)) == (403, "UDAPI100067")
    clock.advance(days=1)

    assert error_of(client.get(PROFILE, extended)) == (401, "UDAPI100050")


def test_one_code_makes_one_token_for_any_number_of_threads(client):
    """Twenty exchanges at once of one code: one succeeds."""
    code, replies = client.code(), []
    threads = [
        Thread(target=lambda: replies.append(client.exchange(code=code).status)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(replies) == [200] + [401] * 19
    assert client.broker.token_requests == 20


def test_clock_in_another_zone(client, clock):
    """The zone of the clock changes nothing."""
    clock.now = clock.now.astimezone(tz=None)
    claims = parts_of(client.broker.mint())[1]

    assert claims["exp"] == at("2026-11-21T03:30:00").timestamp()
    assert clock.now.astimezone(IST) == at("2026-11-20T09:00:00")
