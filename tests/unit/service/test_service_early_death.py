"""A token that the broker ends before its time: noticed, told from what is no death, replaced."""

from datetime import timedelta

import pytest
from support.house import ist, running_house

from broker_tokens.errors import LoginRequired
from broker_tokens.model import PersonNeeded, Stage, TokenDied, TokenStored, Way
from broker_tokens.simulator.broker import Endpoint, RefreshGrant

KEY = "k" * 43


def of_kind(house, kind):
    """Return the events of one kind."""
    return [event for event in house.events if isinstance(event, kind)]


def probes(house):
    """Return when the broker was asked for a price, in IST."""
    return [f"{r.at:%H:%M}" for r in house.broker.requests if r.endpoint is Endpoint.LTP]


def tick_until(house, service, until, **step):
    """Tick each minute, or each `step`."""
    while house.clock.now < ist(until):
        service.tick()
        house.clock.advance(**(step or {"minutes": 1}))


def test_the_service_looks_every_ten_minutes_while_the_market_is_open(house):
    """From ten minutes before the session to its end, and not a minute of the night."""
    house.log_in()
    tick_until(house, house.service(), "2026-11-20 20:00")
    asked = probes(house)

    assert asked[:3] == ["08:50", "09:00", "09:10"]
    assert asked[-1] == "15:20"
    assert len(asked) == 40


def test_a_restart_keeps_the_pace(house):
    """When the broker was asked last is in the saved state."""
    house.log_in()
    house.clock.now = ist("2026-11-20 10:00")
    for _ in range(5):
        house.service().tick()

    assert probes(house) == ["10:00"]


def test_nobody_looks_on_a_holiday_or_without_a_token(house):
    """There is nothing to find out."""
    tick_until(house, house.service(), "2026-11-20 12:00")
    house.log_in()
    house.clock.now = ist("2026-11-21 10:00")  # a Saturday
    house.service().tick()

    assert probes(house) == []


def test_a_dead_token_is_noticed_and_the_person_asked_at_once(house):
    """Within ten minutes; strategies are handed it no more."""
    house.log_in()
    service = house.service()
    tick_until(house, service, "2026-11-20 10:05")
    house.broker.revoke_all()
    tick_until(house, service, "2026-11-20 10:15")

    assert [f"{e.at:%H:%M}" for e in of_kind(house, TokenDied)] == ["10:10"]
    assert [(f"{e.at:%H:%M}", e.stage) for e in of_kind(house, PersonNeeded)] == [
        ("10:10", Stage.REMIND)
    ]
    with pytest.raises(LoginRequired, match="Token is expired or invalid"):
        house.manager().get_current_token()


def test_a_refresh_token_replaces_it_without_a_person(tmp_path):
    """The first way that can."""
    with running_house(tmp_path, "2026-11-20 08:00", RefreshGrant.ON) as house:
        dead = house.log_in()
        service = house.service()
        tick_until(house, service, "2026-11-20 10:05")
        house.broker.revoke_all()
        tick_until(house, service, "2026-11-20 10:15")
        token = house.manager().get_current_token()

        assert token != dead
        assert house.broker.is_live(token)
        assert of_kind(house, TokenStored)[-1].way is Way.REFRESH_GRANT
        assert of_kind(house, PersonNeeded) == []


NO_DEATHS = {
    "the static-IP gate": "UDAPI1221",
    "a rate limit": "UDAPI10005",
    "trouble at the broker": "UDAPI100500",
    "another class of token": "UDAPI100067",
}


@pytest.mark.parametrize("code", NO_DEATHS.values(), ids=NO_DEATHS)
def test_other_refusals_are_no_death(house, code):
    """The token stays, nobody is told, and the next look comes in its time."""
    token = house.log_in()
    house.clock.now = ist("2026-11-20 10:00")
    house.broker.faults[Endpoint.LTP] = [code]
    service = house.service()
    tick_until(house, service, "2026-11-20 10:11")

    assert house.manager().get_current_token() == token
    assert house.events == []
    assert probes(house) == ["10:00", "10:10"]


def test_a_gate_on_the_profile_alone_changes_nothing(house):
    """With a registered static IP, a machine elsewhere may not see the profile."""
    token = house.log_in()
    house.broker.static_ip_gate = True
    house.clock.now = ist("2026-11-20 10:00")
    house.service().tick()

    assert house.manager().get_current_token() == token


def test_a_strategys_report_is_judged_by_the_broker(house):
    """A dead token is gone at once; one that lives is kept, whatever the strategy met."""
    token = house.log_in()
    house.manager().report_rejected(token)
    kept = house.manager().get_current_token()
    house.broker.revoke_all()
    house.clock.advance(minutes=1)
    house.manager().report_rejected(token)

    assert kept == token
    with pytest.raises(LoginRequired):
        house.manager().get_current_token()


def test_a_dead_token_that_is_put_back_is_reported_once_more(house):
    """An older copy of `.env` is restored: a report is enough, the broker is not asked."""
    token = house.log_in()
    content = house.env_file.read_bytes()
    house.broker.revoke_all()
    manager = house.manager()
    manager.report_rejected(token)
    asked = len(probes(house))
    house.env_file.write_bytes(content)
    back = manager.get_current_token()
    manager.report_rejected(token)

    assert back == token
    assert len(probes(house)) == asked
    with pytest.raises(LoginRequired):
        manager.get_current_token()


def test_a_report_of_a_dead_token_leaves_a_newer_one_alone(house):
    """A slow strategy still holds what the broker has refused long ago."""
    old = house.log_in()
    house.broker.revoke_all()
    house.manager().report_rejected(old)
    new = house.log_in()
    before = house.env_file.read_bytes()
    house.manager().report_rejected(old)

    assert house.manager().get_current_token() == new
    assert house.env_file.read_bytes() == before


def test_a_report_of_an_old_token_asks_nobody(house):
    """The strategy held yesterday's; a newer one is stored already."""
    old = house.log_in()
    house.clock.advance(minutes=1)
    house.log_in()
    house.manager().report_rejected(old)

    assert probes(house) == []


def test_a_storm_of_reports_asks_the_broker_twice_a_minute(house):
    """A hundred strategies share one account's limits."""
    token = house.log_in()
    for _ in range(60):
        house.manager().report_rejected(token)
        house.clock.advance(seconds=1)

    assert len(probes(house)) == 2


def test_a_report_brings_the_next_token_where_there_is_a_refresh_token(tmp_path):
    """The strategy's own next call renews; it waits for no service."""
    with running_house(tmp_path, "2026-11-20 10:00", RefreshGrant.ON) as house:
        token = house.log_in()
        house.broker.revoke_all()
        house.manager().report_rejected(token)
        fresh = house.manager().get_current_token()

        assert fresh != token
        assert house.broker.is_live(fresh)


def test_a_token_put_into_the_file_meanwhile_is_not_blamed(house):
    """Before anyone is asked, `.env` is read again: somebody else has replaced the dead one."""
    house.log_in()
    house.clock.now = ist("2026-11-20 10:00")
    fresh = []

    def replace_it(record):
        if record.endpoint is Endpoint.LTP and not fresh:
            fresh.append(house.broker.mint())
            house.set(access_token=fresh[0])

    house.broker.revoke_all()
    house.broker._on_request = replace_it
    house.service().tick()

    assert of_kind(house, TokenDied) == []
    assert house.manager().get_current_token() == fresh[0]
    assert of_kind(house, PersonNeeded) == []


def test_the_phone_is_asked_where_it_can_be(house):
    """Early death opens the day again, with the phone as the first way."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY)
    house.broker.notifier_url = f"https://trader.example.com/notifier/{KEY}"
    house.log_in()
    service = house.service(is_listening=True)
    tick_until(house, service, "2026-11-20 10:05")
    house.broker.revoke_all()
    tick_until(house, service, "2026-11-20 10:15")

    assert house.broker.approval_requests == 1
    assert house.broker.pending_approval.asked_at == ist("2026-11-20 10:10")
    assert house.broker.pending_approval.expires_at - house.clock.now > timedelta(hours=12)
