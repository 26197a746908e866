"""One tick of the service: what it does, what it leaves alone, what it remembers."""

from datetime import timedelta

import pytest
from support.house import ist
from unit.service.scripted import ScriptedBroker

from broker_tokens.brokers import UselessReply
from broker_tokens.env_text import EnvText
from broker_tokens.errors import (
    ConfigurationError,
    LoginRequired,
    StoreError,
    TemporaryFailure,
    TokenRejected,
)
from broker_tokens.model import (
    PersonNeeded,
    RenewalFailed,
    Stage,
    TokenDied,
    TokenReply,
    TokenStored,
    Way,
)
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import Endpoint

DEAD_OPAQUE = "opaque-token-that-tells-nothing"


def values(house):
    """Return what `.env` says now."""
    return EnvText(house.env_file.read_bytes()).values


def reply(house, token="fresh-token", **changes):
    """Return a reply of the token endpoint that lives to the next 03:30."""
    fields = {"access_token": Secret(token), "expires_at": ist("2026-11-21 03:30")}
    return TokenReply(**(fields | changes))


def of_kind(house, kind):
    """Return the events of one kind."""
    return [event for event in house.events if isinstance(event, kind)]


def test_a_day_without_a_grant_asks_reminds_alarms_and_then_is_quiet(house):
    """One notice a stage, each once, whatever the number of ticks; none after a token is there."""
    service = house.service()
    while house.clock.now < ist("2026-11-20 09:40"):
        service.tick()
        house.clock.advance(minutes=1)
    told = [(f"{e.at:%H:%M}", e.stage) for e in of_kind(house, PersonNeeded)]
    house.log_in()
    while house.clock.now < ist("2026-11-20 16:00"):
        service.tick()
        house.clock.advance(minutes=1)

    assert told == [
        ("08:00", Stage.ASK),
        ("08:30", Stage.REMIND),
        ("08:45", Stage.REMIND),
        ("08:55", Stage.REMIND),
        ("09:00", Stage.ALARM),
        ("09:30", Stage.REMIND),
    ]
    assert len(of_kind(house, PersonNeeded)) == len(told)
    assert house.broker.token_requests == 1


def test_a_restart_does_not_tell_again(house):
    """What was told survives the process."""
    for _ in range(5):
        house.service().tick()

    assert len(of_kind(house, PersonNeeded)) == 1


def test_a_dead_token_is_renewed_at_start_up_on_a_weekend(rotating):
    """Silent renewal costs nobody anything, so it happens at any hour and on any day."""
    rotating.log_in()
    rotating.clock.now = ist("2026-11-22 14:00")
    rotating.service().tick()

    assert values(rotating)["UPSTOX_TOKEN_EXPIRES_AT"] == "2026-11-23T03:30:00+05:30"
    assert [e.way for e in of_kind(rotating, TokenStored)] == [Way.REFRESH_GRANT]


def test_a_refused_grant_is_not_sent_again_and_the_person_takes_over(rotating):
    """A refusal is final for this refresh token; the next way is the login."""
    rotating.log_in()
    rotating.broker.revoke_all(refresh_tokens=True)
    rotating.clock.now = ist("2026-11-20 08:00")
    before = rotating.broker.token_requests
    for _ in range(4):
        rotating.service().tick()

    assert rotating.broker.token_requests == before + 1
    assert [e.stage for e in of_kind(rotating, PersonNeeded)] == [Stage.ASK]


def test_wrong_credentials_are_not_tried_again_until_they_change(rotating):
    """The broker is not knocked at with a secret that it has refused."""
    rotating.log_in()
    rotating.set(UPSTOX_CLIENT_SECRET="wrong-secret")
    rotating.clock.now = ist("2026-11-20 04:00")
    outcomes = [rotating.service().tick() for _ in range(3)]
    refused = rotating.broker.token_requests
    rotating.set(UPSTOX_CLIENT_SECRET="sim-secret")
    rotating.service().tick()

    assert isinstance(outcomes[0].error, ConfigurationError)
    assert refused == 2  # the login's, and the one refusal
    assert values(rotating)["UPSTOX_TOKEN_EXPIRES_AT"] == "2026-11-21T03:30:00+05:30"


def test_a_temporary_failure_waits_longer_each_time_and_survives_a_restart(house):
    """Backoff is on disk: a crash loop cannot knock faster than it allows."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="keep-me")
    house.clock.now = ist("2026-11-20 04:00")

    def fail():
        raise TemporaryFailure("Upstox has trouble.", "Wait.")

    broker.refresh_with = fail
    asked_at = []
    while house.clock.now < ist("2026-11-20 04:02"):
        before = len(broker.asked)
        broker.service(house).tick()
        if len(broker.asked) > before:
            asked_at.append((house.clock.now - ist("2026-11-20 04:00")).total_seconds())
        house.clock.advance(seconds=1)

    assert asked_at == [0, 5, 15, 35, 75]
    assert values(house)["UPSTOX_REFRESH_TOKEN"] == "keep-me"


def test_the_brokers_retry_after_is_obeyed(house):
    """A rate limit's own wait outranks the backoff; an absurd one is cut to an hour."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="keep-me")
    house.clock.now = ist("2026-11-20 04:00")

    def limit():
        raise TemporaryFailure("429.", "", retry_after=timedelta(days=3))

    broker.refresh_with = limit
    broker.service(house).tick()
    house.clock.advance(minutes=59)
    broker.service(house).tick()
    asked = len(broker.asked)
    house.clock.advance(minutes=1)
    broker.service(house).tick()

    assert (asked, len(broker.asked)) == (1, 2)


def test_a_useless_reply_still_has_its_rotated_refresh_token_saved(house):
    """The old refresh token is spent: losing the new one would lose the login."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="old")
    house.clock.now = ist("2026-11-20 04:00")

    def useless():
        raise UselessReply("No token.", "Wait.", refresh_token=Secret("rotated"))

    broker.refresh_with = useless
    broker.service(house).tick()
    broker.refresh_with = lambda: reply(house)
    house.clock.advance(seconds=5)
    broker.service(house).tick()

    assert broker.asked == ["refresh old", "refresh rotated"]
    assert values(house)["access_token"] == "fresh-token"


def test_a_reply_without_a_new_refresh_token_keeps_the_old_one(house):
    """RFC 6749 section 6."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="old")
    house.clock.now = ist("2026-11-20 04:00")
    broker.refresh_with = lambda: reply(house)
    broker.service(house).tick()

    assert values(house)["UPSTOX_REFRESH_TOKEN"] == "old"
    assert values(house)["access_token"] == "fresh-token"


def test_another_accounts_token_is_refused_once_and_for_all(house):
    """A renewal that brings a stranger's token stores nothing, and does not spin."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="odd", UPSTOX_USER_ID="SIM001")
    house.clock.now = ist("2026-11-20 04:00")
    broker.refresh_with = lambda: reply(house, user_id="OTHER9")
    outcomes = [broker.service(house).tick() for _ in range(3)]

    assert isinstance(outcomes[0].error, TokenRejected)
    assert "OTHER9" in outcomes[0].error.cause
    assert broker.asked == ["refresh odd"]
    assert values(house)["access_token"] == ""


def test_a_renewal_that_could_not_be_written_is_written_at_the_next_tick(house, monkeypatch):
    """The refresh token is spent, so the reply is kept and the broker is not asked again."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="once-only")
    house.clock.now = ist("2026-11-20 04:00")
    broker.refresh_with = lambda: reply(house, refresh_token=Secret("second"))
    service = broker.service(house)

    def no_room(*arguments):
        raise StoreError("The disk is full.", "Free some room.", temporary=True)

    with monkeypatch.context() as broken:
        broken.setattr("broker_tokens.store.Writer.save_tokens", no_room)
        failed = service.tick()
    service.tick()

    assert isinstance(failed.error, StoreError)
    assert broker.asked == ["refresh once-only"]
    assert values(house)["access_token"] == "fresh-token"
    assert values(house)["UPSTOX_REFRESH_TOKEN"] == "second"


def test_somebody_elses_jwt_is_taken_over_without_asking_anyone(house):
    """A token pasted into `.env` by hand is noticed, and its stale expiry is mended."""
    house.log_in()
    house.clock.now = ist("2026-11-21 04:00")
    pasted = house.broker.mint()
    house.set(access_token=pasted)
    house.service().tick()
    asked = {record.endpoint for record in house.broker.requests[2:]}

    assert values(house)["UPSTOX_TOKEN_EXPIRES_AT"] == "2026-11-22T03:30:00+05:30"
    assert of_kind(house, TokenStored)[-1].way is Way.FOUND
    assert asked <= {Endpoint.HOLIDAYS, Endpoint.TIMINGS}


def test_an_opaque_token_is_probed_before_it_is_trusted(house):
    """Nobody knows when it ends, so the broker is asked, once."""
    broker = ScriptedBroker()
    house.set(access_token=DEAD_OPAQUE, UPSTOX_TOKEN_EXPIRES_AT="2030-01-01T03:30:00+05:30")
    for _ in range(3):
        broker.service(house).tick()

    assert broker.asked == ["life"]
    assert broker.shown == [DEAD_OPAQUE]
    assert values(house)["UPSTOX_TOKEN_EXPIRES_AT"] == "2026-11-21T03:30:00+05:30"
    (told,) = of_kind(house, TokenStored)
    assert (told.way, told.expires_at) == (Way.FOUND, ist("2026-11-21 03:30"))


def test_an_opaque_token_that_cannot_be_probed_is_asked_about_again_later(house):
    """The failure is noted with the next try, and no program asks before that."""
    broker = ScriptedBroker()

    def fail():
        raise TemporaryFailure("Upstox has trouble.", "Wait.")

    broker.life = fail
    house.set(access_token=DEAD_OPAQUE)
    for _ in range(3):
        broker.service(house).tick()
    state = broker.service(house).look().state
    house.clock.advance(seconds=5)
    broker.life = lambda: None
    broker.service(house).tick()

    assert broker.asked == ["life", "life"]
    assert (state.failures, state.retry_at) == (1, ist("2026-11-20 08:00:05"))
    assert state.last_failure is not None
    assert "trouble" in state.last_failure.what
    assert broker.service(house).current_token().reveal() == DEAD_OPAQUE


def test_an_opaque_token_that_the_broker_refuses_is_dead_for_all_readers(house):
    """The refusal is remembered, told, and the person is asked in the same tick."""
    broker = ScriptedBroker()

    def refuse():
        raise TokenRejected("Token is expired or invalid.", "Log in.")

    broker.life = refuse
    house.set(access_token=DEAD_OPAQUE)
    manager = house.manager()
    for _ in range(3):
        broker.service(house).tick()

    assert broker.asked == ["life"]
    assert len(of_kind(house, TokenDied)) == 1
    assert len(of_kind(house, PersonNeeded)) == 1
    assert manager.access_token is None


def test_an_observer_that_fails_disturbs_nothing(house):
    """A notice is never worth a renewal."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="old")
    house.clock.now = ist("2026-11-20 04:00")
    broker.refresh_with = lambda: reply(house)

    def explode(event):
        raise RuntimeError("a channel is down")

    outcome = broker.service(house, observers=[explode, house.events.append]).tick()

    assert outcome.error is None
    assert len(of_kind(house, TokenStored)) == 1


def test_failures_are_told_with_the_time_of_the_next_try(house):
    """A person who reads the log knows what went wrong and when it is tried again."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="old")
    house.clock.now = ist("2026-11-20 04:00")

    def fail():
        raise TemporaryFailure("Upstox has trouble.", "Wait.")

    broker.refresh_with = fail
    broker.service(house).tick()
    (event,) = of_kind(house, RenewalFailed)

    assert event.sentence == "Upstox has trouble. Wait."
    assert event.retry_at == ist("2026-11-20 04:00:05")


@pytest.mark.parametrize("deed", ["tick", "renew", "current_token"])
def test_nothing_is_sent_while_the_file_cannot_be_written(house, monkeypatch, deed):
    """Before a refresh token is spent, the file is proven writable."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="old")
    house.clock.now = ist("2026-11-20 04:00")
    service = broker.service(house)

    def no_room(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    if deed == "tick":
        assert isinstance(service.tick().error, StoreError)
    else:
        with pytest.raises(StoreError, match="No space left"):
            getattr(service, deed)()

    assert broker.asked == []


def test_a_token_that_another_process_stored_is_told_once(house):
    """The person who was reminded reads in the service's log that it is over."""
    service = house.service()
    service.tick()
    house.log_in()
    for _ in range(3):
        service.tick()

    assert [event.way for event in of_kind(house, TokenStored)] == [Way.BROWSER_LOGIN]


def test_a_fresh_service_does_not_announce_yesterdays_news(house):
    """A token that was there before is no new one."""
    house.log_in()
    house.service().tick()

    assert of_kind(house, TokenStored) == []


def test_a_check_that_meets_a_dead_token_keeps_it_from_everyone(house):
    """Upstox ended the token early: once seen, no reader gets it, and the person is asked."""
    token = house.log_in()
    manager = house.manager()
    assert manager.get_current_token() == token
    house.broker.revoke(token)
    with pytest.raises(TokenRejected, match="^Token is expired or invalid"):
        house.service().confirm()
    house.service().tick()

    with pytest.raises(LoginRequired):
        manager.get_current_token()
    assert len(of_kind(house, TokenDied)) == 1
    assert [event.stage for event in of_kind(house, PersonNeeded)] == [Stage.ASK]


def test_a_check_does_not_condemn_a_token_that_has_just_been_replaced(house):
    """The refusal is of the old token; the one that another process stored meanwhile stays."""
    broker = ScriptedBroker()
    old, new = house.log_in(), house.broker.mint()

    def refuse(token):
        assert token.reveal() == old
        house.set(access_token=new)
        raise TokenRejected("Token is expired or invalid.", "Log in.")

    broker.last_price = refuse
    before = values(house)["UPSTOX_TOKEN_EXPIRES_AT"]
    with pytest.raises(TokenRejected):
        broker.service(house).confirm()

    assert house.manager().get_current_token() == new
    assert values(house)["UPSTOX_TOKEN_EXPIRES_AT"] == before


def test_logging_out_leaves_no_token_of_any_kind(rotating):
    """With a refresh token left, a running service would be logged in again in a minute."""
    token = rotating.log_in()
    rotating.service().log_out()
    left = values(rotating)
    rotating.service().tick()

    assert not rotating.broker.is_live(token)
    assert [left[key] for key in left if "token" in key.lower()] == ["", "", "", ""]
    assert values(rotating) == left


def test_an_outage_over_the_opening_costs_a_minute_at_most(house):
    """While strategies wait for a token, no try is more than a minute away."""
    broker = ScriptedBroker()
    house.set(UPSTOX_REFRESH_TOKEN="keep-me")
    house.clock.now = ist("2026-11-20 07:00")

    def fail():
        raise TemporaryFailure("Upstox has trouble.", "Wait.")

    broker.refresh_with = fail
    while house.clock.now < ist("2026-11-20 09:17:30"):
        broker.service(house).tick()
        house.clock.advance(seconds=30)
    broker.refresh_with = lambda: reply(house)
    while not values(house)["access_token"]:
        broker.service(house).tick()
        house.clock.advance(seconds=1)

    assert house.clock.now <= ist("2026-11-20 09:18:31")
    assert len(broker.asked) < 50


def test_a_failure_that_cannot_be_noted_is_not_repeated_in_the_same_tick(house, monkeypatch):
    """With a full disk there is no backoff on disk either; the next tick is soon enough."""
    tries = []
    house.set(UPSTOX_REFRESH_TOKEN="old")
    house.clock.now = ist("2026-11-20 04:00")

    def no_room(writer):
        tries.append(1)
        raise StoreError("The disk is full.", "Free some room.", temporary=True)

    monkeypatch.setattr("broker_tokens.store.Writer.prove_writable", no_room)
    outcome = ScriptedBroker().service(house).tick()

    assert len(tries) == 1
    assert outcome.next_due == ist("2026-11-20 04:00:30")


def test_a_token_that_ends_in_mid_session_does_not_have_the_person_told_again(house):
    """It does not cover the day that they were told about, so what they were told stays said."""
    broker = ScriptedBroker()
    service = broker.service(house)
    service.tick()
    broker.refresh_with = lambda: reply(house, expires_at=ist("2026-11-20 12:00"))
    service.exchange_code(Secret("code"))
    house.clock.advance(minutes=5)
    service.tick()

    assert [event.stage for event in of_kind(house, PersonNeeded)] == [Stage.ASK]
