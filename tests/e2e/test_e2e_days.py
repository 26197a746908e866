"""Whole trading days, minute by minute: the real service and library, a clock moved by hand."""

import time
from collections import Counter

import pytest
import requests
from support.house import ist, running_house

from broker_tokens.cli.service import exit_code
from broker_tokens.errors import TokenError
from broker_tokens.model import PersonNeeded, TokenStored
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.wire import Response

THURSDAY_EVENING = "2026-11-19 20:10"
TWO_SESSIONS_ON = ist("2026-11-23 15:30")  # Friday and Monday are trading days


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/New_York"])
def host_zone(request, monkeypatch):
    """The machine's own zone, which must not matter."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def live_through(house, until, at_minute=None):
    """Tick every minute; in market minutes ask for the token. Returns what a strategy saw."""
    service, manager, seen = house.service(), house.manager(), Counter()
    while house.clock.now < until:
        service.tick()
        now = house.clock.now
        if now.weekday() < 5 and (9, 0) <= (now.hour, now.minute) < (15, 30):
            seen[verdict(house, manager)] += 1
        if at_minute is not None:
            at_minute(now)
        house.clock.advance(minutes=1)
    return seen


def verdict(house, manager):
    try:
        token = manager.get_current_token()
    except TokenError:
        return "none"
    return "live" if house.broker.is_live(token) else "DEAD"


def test_two_days_with_rotating_refresh_tokens(tmp_path, host_zone):
    """With rotating refresh tokens no market minute of two trading days is uncovered."""
    with running_house(tmp_path, THURSDAY_EVENING, RefreshGrant.ROTATING) as house:
        house.log_in()
        seen = live_through(house, TWO_SESSIONS_ON)
        sent = [r.form.get("refresh_token") for r in house.broker.requests]
    presented = [token for token in sent if token]

    assert seen == {"live": 780}
    assert len(presented) == len(set(presented)), "no refresh token was presented twice"
    assert not [event for event in house.events if isinstance(event, PersonNeeded)]


def test_two_days_with_one_refresh_token(tmp_path):
    """A refresh token that stays good does as well, with two renewals a night."""
    with running_house(tmp_path, THURSDAY_EVENING, RefreshGrant.ON) as house:
        house.log_in()
        seen = live_through(house, ist("2026-11-20 15:30"))
        times = [f"{e.at:%H:%M}" for e in house.events if isinstance(e, TokenStored)]

    assert seen == {"live": 390}
    assert times == ["02:00", "03:31"]


def test_an_outage_in_the_night(tmp_path):
    """A broker that is down from 02:00 to 06:00 costs no market minute."""
    with running_house(tmp_path, THURSDAY_EVENING, RefreshGrant.ROTATING) as house:
        house.log_in()
        real = house.broker.handle

        def handle(request):
            down = ist("2026-11-20 02:00") <= house.clock.now < ist("2026-11-20 06:00")
            return Response(503) if down else real(request)

        house.broker.handle = handle
        seen = live_through(house, ist("2026-11-20 15:30"))
        tries = sum(type(event).__name__ == "RenewalFailed" for event in house.events)

    assert seen == {"live": 390}
    assert 5 < tries < 60, "it is tried with patience"


def test_two_days_without_a_refresh_token(tmp_path):
    """Without one the person is asked at 08:00 and how, reminded, alarmed; a login ends it."""
    with running_house(tmp_path, THURSDAY_EVENING) as house:
        house.log_in()
        codes = {}

        def at_minute(now):
            if now == ist("2026-11-20 10:07"):
                house.log_in()
            if now in (ist("2026-11-20 08:00"), ist("2026-11-20 10:08")):
                codes[f"{now:%H:%M}"] = exit_code(house.service(observers=[]).tick())

        seen = live_through(house, ist("2026-11-20 16:00"), at_minute)
        asked = [e for e in house.events if isinstance(e, PersonNeeded)]
        page = requests.get(asked[0].login_url, allow_redirects=False, timeout=10)

    assert [(f"{e.at:%H:%M}", e.stage.value) for e in asked] == [
        ("08:00", "ask"),
        ("08:30", "remind"),
        ("08:45", "remind"),
        ("08:55", "remind"),
        ("09:00", "alarm"),
        ("09:30", "remind"),
        ("10:00", "remind"),
    ]
    assert codes == {"08:00": 77, "10:08": 0}
    assert seen == {"none": 68, "live": 322}
    assert page.status_code == 302, "the address that the person is given is a login dialog"
    assert house.broker.token_requests == 2, "the two logins; nothing was tried in vain"


def test_a_clock_between_two_seconds(tmp_path):
    """`expires_in` in whole seconds moves no token's end away from 03:30: two renewals a night."""
    with running_house(tmp_path, THURSDAY_EVENING, RefreshGrant.ROTATING) as house:
        house.clock.advance(seconds=0.6)
        house.log_in()
        expiries = {house.manager().token_expiry}
        house.clock.advance(seconds=0.3)
        house.manager().refresh_access_token()
        expiries.add(house.manager().token_expiry)
        seen = live_through(house, ist("2026-11-20 15:30"))
        times = [f"{e.at:%H:%M}" for e in house.events if isinstance(e, TokenStored)]

    assert expiries == {ist("2026-11-20 03:30")}
    assert seen == {"live": 390}
    assert times == ["02:00", "03:31"]


@pytest.mark.parametrize("grant", [RefreshGrant.ON, RefreshGrant.ROTATING])
def test_a_renewal_by_hand_always_counts(tmp_path, grant):
    """However the seconds fall, `refresh_access_token` stores the token that it returns."""
    with running_house(tmp_path, "2026-11-20 10:00", grant, newest_token_only=True) as house:
        house.log_in()
        manager = house.manager()
        for _ in range(5):
            house.clock.advance(seconds=0.7)
            token = manager.refresh_access_token()

            assert house.broker.is_live(token)
            assert manager.get_current_token() == token
