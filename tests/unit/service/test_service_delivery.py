"""A token that came to the notifier is judged, and stored if it is the better one."""

import pytest
from support.hostile import jwt
from support.house import ist
from unit.service.approvals import (
    CUT,
    KEY,
    asked,
    day,
    delivery,
    fails,
    of_kind,
    values,
)

from broker_tokens.brokers import ApprovalNotOffered
from broker_tokens.durable_file import Replacement
from broker_tokens.errors import ConfigurationError, StoreError, TemporaryFailure, TokenRejected
from broker_tokens.model import PersonNeeded, TokenReply, TokenStored, Way
from broker_tokens.secrets import Secret


def test_an_approved_token_covers_the_day(listening, broker):
    """Probed, matched to the account, written; then silence."""
    service = broker.service(listening, is_listening=True)
    service.tick()
    listening.clock.advance(minutes=6)
    delivered = delivery()
    service.accept_delivered(delivered)
    day(listening, broker)

    assert values(listening)["access_token"] == delivered.token.reveal()
    assert values(listening)["UPSTOX_TOKEN_EXPIRES_AT"] == "2026-11-21T03:30:00+05:30"
    assert [(e.way, e.user_id) for e in of_kind(listening, TokenStored)] == [
        (Way.PHONE_APPROVAL, "SIM001")
    ]
    assert of_kind(listening, PersonNeeded) == []
    assert asked(broker) == 1
    assert "life" in broker.asked


def test_a_second_delivery_of_the_same_token_changes_nothing(listening, broker):
    """Upstox may say it twice; neither the file nor anybody's attention is spent on it."""
    service = broker.service(listening, is_listening=True)
    service.accept_delivered(delivery())
    before = listening.env_file.stat()
    service.accept_delivered(delivery())

    assert listening.env_file.stat() == before
    assert len(of_kind(listening, TokenStored)) == 1


def test_an_older_token_never_replaces_a_newer_one(listening, broker):
    """Both end at 03:30; the time of issue decides."""
    service = broker.service(listening, is_listening=True)
    service.accept_delivered(delivery(issued="2026-11-20 08:10"))
    stored = values(listening)
    with pytest.raises(TokenRejected, match="older"):
        service.accept_delivered(delivery(issued="2026-11-20 08:05"))

    assert values(listening) == stored


def test_a_dead_token_is_not_kept_and_one_that_cannot_be_judged_may_come_again(listening, broker):
    """A refusal is final, an outage is not."""
    service = broker.service(listening, is_listening=True)
    broker.life = fails(TemporaryFailure("No network.", "Later."))
    with pytest.raises(TemporaryFailure):
        service.accept_delivered(delivery())
    broker.life = fails(TokenRejected("Token is expired or invalid.", "Log in."))
    with pytest.raises(TokenRejected):
        service.accept_delivered(delivery())
    assert values(listening)["access_token"] == ""
    broker.life = lambda: None
    service.accept_delivered(delivery())

    assert values(listening)["access_token"] == delivery().token.reveal()


def test_an_opaque_token_is_matched_by_the_profile(listening, broker):
    """It has no claim of its own, so the broker says whose it is."""
    service = broker.service(listening, is_listening=True)
    broker.owner = "OTHER1"
    with pytest.raises(TokenRejected, match="another account"):
        service.accept_delivered(delivery("opaque-token-without-claims"))
    broker.owner = "SIM001"
    service.accept_delivered(delivery("opaque-token-without-claims"))

    assert values(listening)["access_token"] == "opaque-token-without-claims"


def newer(brought="2026-11-20 08:06"):
    """Return what a login brings a minute after the approval."""
    at = ist(brought)
    token = Secret(jwt(sub="SIM001", iat=at.timestamp(), exp=CUT.timestamp()))
    return TokenReply(token, CUT, "SIM001")


def test_a_login_while_the_broker_judges_wins(listening, broker):
    """The older token is dropped, though nothing newer was stored when it came."""
    listening.clock.now = ist("2026-11-20 08:07")
    reply = newer()

    def log_in_meanwhile():
        broker.life = lambda: None
        broker.refresh_with = lambda: reply
        broker.service(listening).exchange_code(Secret("abcdef"))

    broker.life = log_in_meanwhile
    with pytest.raises(TokenRejected, match="older"):
        broker.service(listening).accept_delivered(delivery())

    assert values(listening)["access_token"] == reply.access_token.reveal()


@pytest.mark.parametrize("account", ["", "SIM001"])
def test_a_full_disk_at_the_wrong_moment_loses_no_approved_token(
    house, broker, account, monkeypatch
):
    """Noted as answered and then not stored: it is taken at the next try, by any process."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY, UPSTOX_USER_ID=account)
    broker.service(house, is_listening=True).tick()
    approved = delivery()
    commit = Replacement.commit

    def commit_or_fail(replacement, content):
        if replacement._path.endswith(".env"):
            raise StoreError("Full.", "Free some room.")
        commit(replacement, content)

    with monkeypatch.context() as patch:
        patch.setattr(Replacement, "commit", commit_or_fail)
        with pytest.raises(StoreError):
            broker.service(house).accept_delivered(approved)
    broker.service(house).accept_delivered(approved)

    assert values(house)["access_token"] == approved.token.reveal()


@pytest.mark.parametrize(
    "error",
    [
        TemporaryFailure("Too many requests.", "Wait."),
        ApprovalNotOffered("The app is under review.", "Wait."),
        ConfigurationError("The secret is wrong.", "Mend it."),
    ],
)
def test_a_second_request_that_fails_leaves_the_first_one_open(house, broker, error):
    """Its token is still taken, and the phone is not asked a third time."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY)
    service = broker.service(house, is_listening=True)
    service.tick()
    broker.approve_with = fails(error)
    with pytest.raises(type(error)):
        service.ask_phone()
    day(house, broker, until="2026-11-20 08:20")

    assert asked(broker) == 2
    standing = broker.service(house).look().state.approval
    assert standing is not None
    assert standing.expires_at == CUT
    broker.service(house).accept_delivered(delivery())
    assert "access_token" in values(house)
