"""The refresh grants that Upstox does not document, to RFC 6749 section 6."""

from datetime import timedelta

import pytest
from unit.simulator.practice import at, error_of

from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.login import GRACE_PERIOD


@pytest.fixture(params=["refreshing", "rotating"])
def either(request):
    """A client of each broker that has a refresh grant."""
    return request.getfixturevalue(request.param)


def refused_grant(response):
    return response.status == 400 and response.json()["error"] == "invalid_grant"


def test_code_reply_carries_refresh_token(either):
    """The reply to a code has the fields that the OpenAPI document declares as optional."""
    reply = either.exchange().json()

    assert reply["refresh_token"]
    assert reply["token_type"] == "Bearer"
    assert reply["expires_in"] == 18.5 * 3600


def test_refresh_brings_a_live_token_without_a_person(either, clock):
    """The new token dies at the next 03:30 IST, like any other."""
    first = either.exchange().json()
    clock.now = at("2026-11-21T03:31:00")
    reply = either.refresh(first["refresh_token"]).json()

    assert not either.broker.is_live(first["access_token"])
    assert either.broker.is_live(reply["access_token"])
    assert reply["user_id"] == "SIM001"
    assert reply["expires_in"] == (24 * 3600) - 60
    assert "extended_token" not in reply


def test_refresh_needs_right_credentials(either):
    """A refresh token alone is worth nothing, and survives the attempt."""
    token = either.exchange().json()["refresh_token"]

    assert error_of(either.refresh(token, client_secret="wrong")) == (401, "UDAPI100069")
    assert either.refresh(token).status == 200


def test_unknown_refresh_token(either):
    """A refused grant has the broker's envelope and the standard's word for it."""
    response = either.refresh("never-issued")

    assert error_of(response) == (400, "UDAPI100057")
    assert refused_grant(response)


def test_missing_refresh_token(either):
    """The standard calls a form without the token an invalid request."""
    response = either.refresh(None)

    assert response.status == 400
    assert response.json()["error"] == "invalid_request"


def test_plain_refresh_token_stays(refreshing):
    """Without rotation a refresh brings no new refresh token, and the old one goes on working."""
    token = refreshing.exchange().json()["refresh_token"]
    replies = [refreshing.refresh(token).json() for _ in range(3)]

    assert {reply["refresh_token"] for reply in replies} == {token}
    assert len({reply["access_token"] for reply in replies}) == 3


def test_rotation_chain(rotating):
    """Every reply carries the refresh token that the next request has to bring."""
    tokens = [rotating.exchange().json()["refresh_token"]]
    for _ in range(3):
        tokens.append(rotating.refresh(tokens[-1]).json()["refresh_token"])

    assert len(set(tokens)) == 4


def test_replay_ends_the_whole_family(rotating):
    """A spent refresh token takes its successor and all access tokens with it."""
    first = rotating.exchange().json()
    second = rotating.refresh(first["refresh_token"]).json()

    assert refused_grant(rotating.refresh(first["refresh_token"]))
    assert refused_grant(rotating.refresh(second["refresh_token"]))
    assert not rotating.broker.is_live(first["access_token"])
    assert not rotating.broker.is_live(second["access_token"])


def test_replay_leaves_other_families_alone(rotating):
    """Another login of the same user goes on."""
    first, other = rotating.exchange().json(), rotating.exchange().json()
    rotating.refresh(first["refresh_token"])
    rotating.refresh(first["refresh_token"])

    assert rotating.broker.is_live(other["access_token"])
    assert rotating.refresh(other["refresh_token"]).status == 200


def test_revoking_access_tokens_spares_refresh_tokens(either):
    """A change of the static IP ends access tokens; a refresh brings the next one."""
    first = either.exchange().json()
    either.broker.revoke_all()

    assert not either.broker.is_live(first["access_token"])
    assert either.refresh(first["refresh_token"]).status == 200


def test_revoking_everything(either):
    """On request the refresh tokens end too."""
    first = either.exchange().json()
    either.broker.revoke_all(refresh_tokens=True)

    assert refused_grant(either.refresh(first["refresh_token"]))


def test_a_repeat_is_forgiven_for_a_while(client_of, clock):
    """A server with a grace period takes the token just spent once more, and only that one."""
    practice = client_of(refresh=RefreshGrant.GRACE)
    first = practice.exchange().json()["refresh_token"]
    lost = practice.refresh(first).json()["refresh_token"]
    clock.now += GRACE_PERIOD
    repeated = practice.refresh(first).json()["refresh_token"]

    assert len({first, lost, repeated}) == 3
    assert practice.refresh(repeated).status == 200
    assert refused_grant(practice.refresh(lost))


def test_a_late_repeat_ends_the_login(client_of, clock):
    """After the grace period a repeat counts as theft."""
    practice = client_of(refresh=RefreshGrant.GRACE)
    first = practice.exchange().json()["refresh_token"]
    second = practice.refresh(first).json()["refresh_token"]
    clock.now += GRACE_PERIOD + timedelta(seconds=1)

    assert refused_grant(practice.refresh(first))
    assert refused_grant(practice.refresh(second))
