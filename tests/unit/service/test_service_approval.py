"""Approval on the phone: asked once, noted before it leaves, and what comes back is judged."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from support.hostile import jwt
from support.house import ist
from unit.service.scripted import ScriptedBroker

from broker_tokens.brokers import ApprovalNotOffered, ApprovalReply, OutcomeUnknown
from broker_tokens.env_text import EnvText
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenRejected
from broker_tokens.model import AppRefused, ApprovalAsked, PersonNeeded, Stage, TokenStored, Way
from broker_tokens.renewals.phone_approval import Delivery
from broker_tokens.secrets import Secret

KEY = "k" * 43
ADDRESS = f"https://trader.example.com/notifier/{KEY}"
CUT = ist("2026-11-21 03:30")


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def listening(house):
    """Friday 08:00, an account that is known, and an address for the answer."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY, UPSTOX_USER_ID="SIM001")
    return house


@pytest.fixture
def broker():
    """A broker that takes every request."""
    made = ScriptedBroker()
    made.approve_with = lambda: ApprovalReply(CUT, ADDRESS)
    return made


def fails(error):
    """Return what a broker does that answers with an error."""

    def answer():
        raise error

    return answer


def asked(broker):
    """Return how many requests reached the broker."""
    return broker.asked.count("approval")


def of_kind(house, kind):
    """Return the events of one kind."""
    return [event for event in house.events if isinstance(event, kind)]


def day(house, broker, until="2026-11-20 16:00", **options):
    """Tick each minute, each time as a process just started."""
    while house.clock.now < ist(until):
        broker.service(house, is_listening=True, **options).tick()
        house.clock.advance(minutes=1)


def delivery(token=None, issued="2026-11-20 08:05", **changes):
    """Return what Upstox delivers for SIM001."""
    issued_at = ist(issued)
    claims = {"sub": "SIM001", "iat": issued_at.timestamp(), "exp": CUT.timestamp()}
    made = Delivery(Secret(token or jwt(**claims)), "sim-client", "SIM001", issued_at, CUT)
    return replace(made, **changes)


def values(house):
    """Return what `.env` says now."""
    return EnvText(house.env_file.read_bytes()).values


def test_the_phone_is_asked_once_a_day_over_any_number_of_restarts(listening, broker):
    """One request at 08:00; the reminders follow, and name it."""
    day(listening, broker)
    told = [(f"{e.at:%H:%M}", e.stage) for e in of_kind(listening, PersonNeeded)]

    assert asked(broker) == 1
    assert [f"{e.at:%H:%M}" for e in of_kind(listening, ApprovalAsked)] == ["08:00"]
    assert told[:4] == [
        ("08:30", Stage.REMIND),
        ("08:45", Stage.REMIND),
        ("08:55", Stage.REMIND),
        ("09:00", Stage.ALARM),
    ]
    assert {e.asked_at for e in of_kind(listening, PersonNeeded)} == {ist("2026-11-20 08:00")}


def test_the_next_day_is_asked_for_anew(listening, broker):
    """A request ends at 03:30, so Monday has one of its own; the weekend has none."""
    day(listening, broker, until="2026-11-23 16:00")

    assert [f"{e.at:%a %H:%M}" for e in of_kind(listening, ApprovalAsked)] == [
        "Fri 08:00",
        "Mon 08:00",
    ]
    assert asked(broker) == 2


def test_nobody_is_asked_where_no_answer_can_come(listening, broker):
    """Without a listener the login link is what the person is asked for."""
    service = broker.service(listening)
    service.tick()

    assert asked(broker) == 0
    assert [e.stage for e in of_kind(listening, PersonNeeded)] == [Stage.ASK]


@pytest.mark.parametrize("left_out", ["refresh_grant,browser_login", "browser_login"])
def test_a_way_that_is_left_out_is_not_used(listening, broker, left_out):
    """UPSTOX_RENEWAL decides."""
    listening.set(UPSTOX_RENEWAL=left_out)
    day(listening, broker, until="2026-11-20 09:00")

    assert asked(broker) == 0


def test_a_crash_while_the_request_is_under_way_asks_nobody_twice(listening, broker):
    """The note is on disk before the request leaves; the person is told of it after the restart."""
    broker.approve_with = fails(Crash())
    with pytest.raises(Crash):
        broker.service(listening, is_listening=True).tick()
    broker.approve_with = lambda: ApprovalReply(CUT, ADDRESS)
    day(listening, broker, until="2026-11-20 08:30")

    assert asked(broker) == 1
    needed = of_kind(listening, PersonNeeded)
    assert [(e.stage, e.asked_at) for e in needed] == [(Stage.ASK, ist("2026-11-20 08:00"))]


def test_a_lost_reply_counts_as_asked_and_is_said_to_be_uncertain(listening, broker):
    """Upstox may have rung the phone: asking again could ring it twice."""
    broker.approve_with = fails(OutcomeUnknown("No answer.", "Look at the phone."))
    day(listening, broker, until="2026-11-20 08:20")

    assert asked(broker) == 1
    assert [e.is_certain for e in of_kind(listening, ApprovalAsked)] == [False]
    assert of_kind(listening, PersonNeeded) == []


def test_a_passing_failure_is_tried_again_and_the_person_told_meanwhile(listening, broker):
    """Retries back off from 5 s; once the next is more than a minute away, the link is sent."""
    broker.approve_with = fails(TemporaryFailure("503.", "Later."))
    service = broker.service(listening, is_listening=True)
    while listening.clock.now < ist("2026-11-20 08:20"):
        service.tick()
        listening.clock.advance(seconds=5)
    failed = asked(broker)
    told = of_kind(listening, PersonNeeded)
    broker.approve_with = lambda: ApprovalReply(CUT, ADDRESS)
    while listening.clock.now < ist("2026-11-20 08:29"):
        service.tick()
        listening.clock.advance(seconds=5)

    assert 5 <= failed <= 10
    assert [e.stage for e in told] == [Stage.ASK]
    assert told[0].at <= ist("2026-11-20 08:03")
    assert asked(broker) == failed + 1
    assert len(of_kind(listening, ApprovalAsked)) == 1


def test_a_refused_app_is_told_once_and_the_link_is_sent_instead(listening, broker):
    """No notifier address, not an individual, under review, expired: not asked again that day."""
    broker.approve_with = fails(ApprovalNotOffered("The app has no notifier address.", "Enter it."))
    day(listening, broker)

    assert asked(broker) == 1
    assert len(of_kind(listening, AppRefused)) == 1
    assert of_kind(listening, PersonNeeded)[0].stage is Stage.ASK
    assert {e.asked_at for e in of_kind(listening, PersonNeeded)} == {None}


def test_a_refused_app_is_asked_for_again_the_next_trading_day(listening, broker):
    """A review ends, an address gets registered."""
    broker.approve_with = fails(ApprovalNotOffered("The app is under review.", "Wait."))
    day(listening, broker, until="2026-11-23 08:02")

    assert asked(broker) == 2


def test_refused_credentials_are_not_shown_again_until_they_change(listening, broker):
    """Monday asks nobody; new credentials do."""
    broker.approve_with = fails(ConfigurationError("The client secret is wrong.", "Correct it."))
    day(listening, broker, until="2026-11-23 08:30")
    refused = asked(broker)
    listening.set(UPSTOX_CLIENT_SECRET="another")
    day(listening, broker, until="2026-11-23 08:32")

    assert refused == 1
    assert asked(broker) == 2


@pytest.mark.parametrize("error", [TokenRejected("No active segment.", "Reactivate it.")])
def test_any_other_refusal_is_not_repeated_that_day_either(listening, broker, error):
    """Nothing makes the service knock every minute."""
    broker.approve_with = fails(error)
    day(listening, broker)

    assert asked(broker) == 1


def test_a_covered_day_asks_nobody(listening, broker):
    """A token that is there by 08:00, by whatever way, is the end of it."""
    listening.log_in()
    day(listening, broker)

    assert asked(broker) == 0
    assert of_kind(listening, PersonNeeded) == []


def test_an_answer_that_goes_elsewhere_is_said(listening, broker):
    """The app's registered address is another one: the approved token would never come."""
    broker.approve_with = lambda: ApprovalReply(CUT, "https://old.example.com/hook")
    broker.service(listening, is_listening=True).tick()

    assert [e.goes_elsewhere for e in of_kind(listening, ApprovalAsked)] == ["old.example.com"]


def test_asking_by_hand_asks_again(listening, broker):
    """The person may want it a second time; the plan still counts one."""
    service = broker.service(listening, is_listening=True)
    service.tick()
    service.ask_phone()
    day(listening, broker)

    assert asked(broker) == 2


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


def test_a_token_that_dies_early_may_have_the_phone_asked_once_more(listening, broker):
    """The morning's request is answered and over; the day is open again."""
    service = broker.service(listening, is_listening=True)
    service.tick()
    service.accept_delivered(delivery())
    listening.clock.now = ist("2026-11-20 11:00")
    broker.life = fails(TokenRejected("Token is expired or invalid.", "Log in."))
    service.tick()

    assert asked(broker) == 2
    assert [e.stage for e in of_kind(listening, ApprovalAsked)] == [Stage.ASK, Stage.REMIND]


def test_a_late_start_asks_at_once(listening, broker):
    """Started at 09:20, the first thing is the request, which stands for the alarm."""
    listening.clock.now = ist("2026-11-20 09:20")
    broker.service(listening, is_listening=True).tick()

    assert asked(broker) == 1
    assert [(e.stage, e.session_opens) for e in of_kind(listening, ApprovalAsked)] == [
        (Stage.ALARM, ist("2026-11-20 09:00"))
    ]


def test_nothing_is_asked_on_a_holiday(listening, broker):
    """Neither the broker for approval nor the person for anything."""
    holiday: datetime = ist("2026-11-20 00:00")
    broker.market_days = lambda exchange, today, token: {holiday.date(): None}
    day(listening, broker)

    assert asked(broker) == 0
    assert listening.events == []


def test_the_calendar_is_learned_before_a_person_is_disturbed(listening, broker):
    """A fresh start on a holiday's morning asks the broker first."""
    calls = []
    broker.market_days = lambda *arguments: (
        calls.append(arguments) or {ist("2026-11-20 00:00").date(): None}
    )
    outcome = broker.service(listening, is_listening=True).tick()

    assert [call[:2] for call in calls] == [("NSE", ist("2026-11-20 00:00").date())]
    assert listening.events == []
    assert outcome.next_due <= listening.clock.now + timedelta(hours=21)


def test_a_calendar_that_cannot_be_had_is_asked_for_hourly_and_a_weekday_trades(listening, broker):
    """The person is asked all the same."""
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        raise TemporaryFailure("No network.", "Later.")

    broker.market_days = fail
    day(listening, broker, until="2026-11-20 12:00")

    assert 4 <= len(calls) <= 5
    assert asked(broker) == 1


def test_another_exchange_has_another_calendar(listening, broker):
    """A change of UPSTOX_EXCHANGE counts at the next look; the old one's holidays are forgotten."""
    friday = ist("2026-11-20 00:00").date()
    calls = []

    def market_days(exchange, today, token):
        calls.append(exchange)
        return {friday: None} if exchange == "NSE" else {}

    broker.market_days = market_days
    service = broker.service(listening, is_listening=True)
    service.tick()
    before = asked(broker)
    listening.set(UPSTOX_EXCHANGE="MCX")
    service.tick()

    assert calls == ["NSE", "MCX"]
    assert (before, asked(broker)) == (0, 1)
