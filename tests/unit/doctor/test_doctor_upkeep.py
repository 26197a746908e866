"""Who sees to the next token, and what the report's last word makes of it."""

import sys
from dataclasses import replace

import pytest
from support.hostile import jwt
from support.house import ist

from broker_tokens.attendance import Attendance
from broker_tokens.brokers import CallNotAllowed
from broker_tokens.install.schedulers import Scheduler
from broker_tokens.simulator.broker import Endpoint

NOW = ist("2026-11-20 06:00")
NOBODY = Attendance(None, "", None)
LONG_AGO = Attendance(None, "", ist("2026-11-18 06:00"), is_by_once=True)
WATCHED = Attendance(4711, "", NOW)
NOON = ist("2026-11-20 12:00")
WATCHED_AT_NOON = Attendance(4711, "", NOON)
UNIT = Scheduler("systemd", False, "upstox-token-refresh", "/home/t/x.service", is_active=True)
CRON = Scheduler("cron", False, "", "crontab of trader", is_active=None)
AT_LOGIN = replace(UNIT, missing="loginctl enable-linger trader")
ASLEEP = Scheduler("systemd", False, "upstox-token-refresh", "/home/t/x.service", is_active=False)


@pytest.mark.parametrize(
    ("attendance", "schedulers", "level", "words"),
    [
        (NOBODY, [], "warn", "none looks after"),
        (WATCHED, [], "ok", "process 4711"),
        (Attendance(0, "", NOW), [], "ok", "process unknown"),
        (Attendance(7, "", None), [], "ok", "process 7"),  # it has just started
        (Attendance(7, "", ist("2026-11-20 05:40")), [], "fail", "hangs: last look Fri 20 Nov"),
        (NOBODY, [CRON], "ok", "crontab"),
        (NOBODY, [ASLEEP], "warn", "none looks after"),
        (WATCHED, [UNIT], "ok", "installed"),
        (WATCHED, [UNIT, CRON], "warn", "2 schedulers"),
        (WATCHED, [AT_LOGIN], "warn", "does not start with the machine"),
        (LONG_AGO, [CRON], "warn", "has not looked for long: last look Wed 18 Nov"),
        (LONG_AGO, [UNIT], "warn", "has not looked for long"),
    ],
)
def test_who_looks_after_the_file(house, tell, attendance, schedulers, level, words):
    """A service or one scheduler is right; nobody, or two, is not."""
    house.log_in()
    told = tell(attendance=lambda _: attendance, schedulers=lambda _: schedulers)

    assert (told["service"], told.code) == (level, 77 if level == "fail" else 0)
    assert words in told.words("service")


def test_once_that_looked_lately(house, tell):
    """Whatever starts it: a look of the last half hour is as good as a service."""
    looks = [NOW, ist("2026-11-19 06:00")]
    seen = [
        tell(attendance=lambda _, at=at: Attendance(None, "", at, is_by_once=True))["service"]
        for at in looks
    ]

    assert seen == ["ok", "warn"]


@pytest.mark.parametrize(
    ("attendance", "has_refresh", "words"),
    [
        (NOBODY, True, "NOT SAFE: nobody looks after this .env"),
        (WATCHED_AT_NOON, True, "will be renewed silently"),
        (WATCHED_AT_NOON, False, "needs you at 08:00 IST: a login"),
    ],
)
def test_the_last_word(house, tell, attendance, has_refresh, words):
    """The session after the one that is open and covered is Monday's: is it safe?"""
    house.log_in()
    house.clock.advance(hours=6)
    if has_refresh:
        house.set(UPSTOX_REFRESH_TOKEN="r")
    told = tell(attendance=lambda _: attendance)

    assert "Mon 23 Nov 2026 09:00 IST" in told.outlook
    assert words in told.outlook


def test_the_last_word_where_the_phone_can_be_asked(house, tell):
    """A service that listens makes the approval possible."""
    house.log_in()
    house.clock.advance(hours=6)
    house.set(UPSTOX_NOTIFIER_SECRET="n" * 43)
    told = tell(attendance=lambda _: Attendance(1, "127.0.0.1:8765", NOON))

    assert "an approval on the phone, or a login" in told.outlook
    assert "an approval on the phone" in told.words("renewal")


def test_the_last_word_on_a_failure(house, tell):
    """Whoever looks after it: what has failed comes first."""
    house.set(UPSTOX_SESSION="noon")

    assert "No session is safe" in tell(attendance=lambda _: WATCHED).outlook


def test_the_last_word_without_a_feed(house, tell):
    """That the plan includes no feed is a failure, and none of the token's."""
    house.log_in()
    house.broker.feed_refusal = "UDAPI1149"
    told = tell(attendance=lambda _: WATCHED)

    assert (told["feed"], told.code) == ("fail", 77)
    assert "covered by the stored token" in told.outlook


def test_a_claim_that_is_no_account_is_not_shown(house, tell):
    """A token may call itself anything; its claim is printed only if it looks like an id."""
    house.set(access_token=jwt(sub="x\x1b[2J y", exp=1_795_212_000), UPSTOX_USER_ID="AB1234")
    told = tell(is_offline=True)

    assert told["account"] is None
    assert "\x1b" not in str([each.words for each in told.findings])


def test_the_last_word_on_a_token_of_a_year(house, tell):
    """It covers the session, for reading."""
    house.set(access_token=house.broker.mint_analytics())

    assert "covered by the stored token, which is for reading only" in tell().outlook


def test_no_token_is_a_failure_when_a_session_waits(house, tell):
    """At night nobody needs one; after the hour of asking, today's session does."""
    at_night = tell()
    house.clock.advance(hours=3)
    in_session = tell()

    assert (at_night["token"], at_night.code) == ("warn", 0)
    assert (in_session["token"], in_session.code) == ("fail", 77)


def test_a_token_that_is_over(house, tell):
    """By the clock alone, so the broker is not asked about it."""
    house.log_in()
    house.clock.advance(days=1)
    told = tell()

    assert told["token"] == "warn", "it is Saturday"
    assert "Token is expired or invalid: it ended" in told.words("token")
    assert [each.endpoint for each in house.broker.requests].count(Endpoint.LTP) == 1


def test_somebody_elses_token(house, tell):
    """Its account is compared with the one that logged in first, online and offline."""
    house.log_in()
    house.set(access_token=house.broker.mint("XY9999"))
    for is_offline in (False, True):
        told = tell(is_offline=is_offline)

        assert (told.code, told["account"]) == (77, "fail")
        assert "XY9999" in told.words("account")


@pytest.mark.parametrize(
    ("keys", "topic", "level"),
    [
        ({"UPSTOX_ON_RENEW": sys.executable}, "UPSTOX_ON_RENEW", "ok"),
        ({"UPSTOX_ON_RENEW": "/no/such/program arg"}, "UPSTOX_ON_RENEW", "fail"),
        ({"UPSTOX_ON_RENEW": "KEY=planted-key program"}, "UPSTOX_ON_RENEW", "fail"),
        ({"UPSTOX_NOTIFY_COMMAND": "no-such-program"}, "UPSTOX_NOTIFY_COMMAND", "fail"),
        ({"UPSTOX_NOTIFY_COMMAND": sys.executable}, "notices", "ok"),
        ({"UPSTOX_NOTIFY_URLS": "ntfy://planted-topic"}, "notices", "ok"),
        ({}, "notices", "warn"),
        ({"UPSTOX_REFRESH_TOKEN": "r"}, "notices", None),
    ],
)
def test_how_a_person_is_told(house, tell, keys, topic, level):
    """A channel is named by its kind; a program must be there; nobody to tell is a warning."""
    house.set(**keys)
    told = tell()

    assert told[topic] == level
    assert "planted" not in told.words("notices") + told.words("UPSTOX_ON_RENEW")


def test_notices_without_the_package_for_them(house, tell, monkeypatch):
    """Addresses are set, and nothing that could send to them is installed."""
    house.set(UPSTOX_NOTIFY_URLS="ntfy://topic")
    monkeypatch.setitem(sys.modules, "apprise", None)
    told = tell()

    assert (told["notices"], told.code) == ("fail", 78)
    assert "apprise is not installed" in told.words("notices")


def test_the_last_failure_and_the_static_ip(house, tell):
    """What went wrong is shown with its time; the gate of the static IP has a remedy of its own."""
    house.set(access_token=house.broker.mint(), UPSTOX_REFRESH_TOKEN="r")
    house.broker.faults[Endpoint.TOKEN] = ["UDAPI1221"]
    with pytest.raises(CallNotAllowed):
        house.service().renew()
    told = tell()

    assert told["last failure"] == told["static IP"] == "warn"
    assert "Fri 20 Nov 2026 06:00 IST" in told.words("static IP")
