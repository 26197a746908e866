"""Approval on the phone: asked once, noted before it leaves, and what comes back is judged."""

from datetime import datetime, timedelta

import pytest
from support.house import ist
from unit.service.approvals import (
    ADDRESS,
    CUT,
    Crash,
    asked,
    day,
    delivery,
    fails,
    of_kind,
)

from broker_tokens.brokers import ApprovalNotOffered, ApprovalReply, OutcomeUnknown
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenRejected
from broker_tokens.model import AppRefused, Approval, ApprovalAsked, Failure, PersonNeeded, Stage


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


@pytest.mark.parametrize(
    ("now", "asks_to_wait", "next_try"),
    [
        ("08:00", None, "08:00:05"),
        ("08:00", timedelta(minutes=2), "08:02:00"),
        ("08:00", timedelta(hours=9), "09:00:00"),
        ("08:00", timedelta(seconds=1), "08:00:05"),
    ],
)
def test_the_next_try_is_when_the_broker_says(listening, broker, now, asks_to_wait, next_try):
    """Not before our own backoff, and no later than in an hour."""
    listening.clock.now = ist(f"2026-11-20 {now}")
    broker.approve_with = fails(TemporaryFailure("429.", "Later.", retry_after=asks_to_wait))
    broker.service(listening, is_listening=True).tick()
    state = broker.service(listening).look().state

    assert state.approval == Approval(
        listening.clock.now, retry_at=ist(f"2026-11-20 {next_try}"), tries=1
    )
    assert state.last_failure == Failure(listening.clock.now, "429. Later.")


def test_tries_near_the_opening_are_a_minute_apart(listening, broker):
    """The tenth one too."""
    broker.approve_with = fails(TemporaryFailure("503.", "Later."))
    service = broker.service(listening, is_listening=True)
    while listening.clock.now < ist("2026-11-20 09:10"):
        service.tick()
        listening.clock.advance(seconds=5)
    before = asked(broker)
    while listening.clock.now < ist("2026-11-20 09:20"):
        service.tick()
        listening.clock.advance(seconds=5)

    assert 9 <= asked(broker) - before <= 11


def test_what_was_asked_is_noted_with_its_end(listening, broker):
    """The broker's word on until when the request is open."""
    broker.approve_with = lambda: ApprovalReply(ist("2026-11-20 18:00"), ADDRESS)
    broker.service(listening, is_listening=True).tick()

    noted = broker.service(listening).look().state.approval
    assert noted == Approval(ist("2026-11-20 08:00"), ist("2026-11-20 18:00"))


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
    broker.market_days = lambda exchange, today, token, known: {holiday.date(): None}
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

    def market_days(exchange, today, token, known):
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
