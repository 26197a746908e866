"""When approval is asked for on the phone: a table of hard hours. 20 November 2026 is a Friday."""

from dataclasses import replace
from datetime import date, time, timedelta

import pytest
from support.house import ist
from unit.plan.looks import look_at
from unit.plan.table import hour, in_words, read

from broker_tokens.calendar import SessionHours, TradingCalendar
from broker_tokens.expiry import next_cut
from broker_tokens.forecast import next_step, renewal_sentence
from broker_tokens.model import Approval, State
from broker_tokens.policy import (
    AskApproval,
    Life,
    Rules,
    Situation,
    TellPerson,
    Wait,
    decide,
    person_is_needed,
)
from broker_tokens.settings import load_settings

EIGHT = "2026-11-20 08:00"
ASK = "phone, ask of 2026-11-20 08:00"
TELL = "ask of 2026-11-20 08:00"
EARLY = Rules(approval_time=time(3, 31), calendar=TradingCalendar(SessionHours(time(4, 0))))
HOLIDAY = Rules(calendar=TradingCalendar(days={date(2026, 11, 20): None}))

# asked: when approval was last asked for. refused: why the broker did not take that. again: when
# it is tried again, after a failure in passing.
PHONE_HOURS = [
    hour(case="the phone is asked at 08:00", now=EIGHT, phone=True, due=ASK),
    hour(case="not a second before", now="2026-11-20 07:59:59", phone=True,
         due=f"wait until {EIGHT}"),
    hour(case="where no answer can be heard, the link is sent", now=EIGHT, due=TELL),
    hour(case="a covered session needs no approval", now=EIGHT, phone=True,
         token="2026-11-21 03:30", due="wait until 2026-11-21 03:30"),
    hour(case="a token that ends within the session does", now=EIGHT, phone=True,
         token="2026-11-20 15:29", due=ASK),
    hour(case="a dead token does", now=EIGHT, phone=True, token="2026-11-20 03:30", due=ASK),
    # The night.
    hour(case="asked at 03:31 when that is the hour", now="2026-11-20 03:31", phone=True,
         rules=EARLY, due="phone, ask of 2026-11-20 03:31"),
    hour(case="a request of 03:30:59 could die a second later", now="2026-11-20 03:30:59",
         phone=True, rules=EARLY, due="wait until 2026-11-20 03:31"),
    hour(case="nor is anything asked at 02:30", now="2026-11-20 02:30", phone=True, rules=EARLY,
         due="wait until 2026-11-20 03:31"),
    # Once a day.
    hour(case="asked today, and told by that", now="2026-11-20 08:00:01", phone=True,
         asked=EIGHT, told=EIGHT, due="wait until 2026-11-20 08:30"),
    hour(case="asked today, and the process died before that was noted as told",
         now="2026-11-20 08:00:01", phone=True, asked=EIGHT, due=TELL),
    hour(case="asked yesterday", now=EIGHT, phone=True, asked="2026-11-19 08:00",
         told="2026-11-19 15:00", due=ASK),
    hour(case="asked after midnight, which was yesterday for the broker", now=EIGHT, phone=True,
         asked="2026-11-20 02:00", due=ASK),
    hour(case="asked a second before the cut, which was yesterday, too", now=EIGHT, phone=True,
         asked="2026-11-20 03:29:59", due=ASK),
    hour(case="asked by hand at 03:30 sharp, which is today", now=EIGHT, phone=True,
         asked="2026-11-20 03:30", due=TELL),
    hour(case="asked by hand in the minute after the cut, which is today", now=EIGHT, phone=True,
         asked="2026-11-20 03:30:40", due=TELL),
    hour(case="asked by hand last evening", now=EIGHT, phone=True,
         asked="2026-11-19 22:00", due=ASK),
    hour(case="asked at 10:00 by a clock since set back to 08:00: the phone has rung",
         now=EIGHT, phone=True, asked="2026-11-20 10:00", due=TELL),
    hour(case="asked tomorrow by a clock since set back a day: not today",
         now=EIGHT, phone=True, asked="2026-11-21 08:00", due=ASK),
    hour(case="asked in 2030 by a clock since set right: not today", now=EIGHT, phone=True,
         asked="2030-01-01 08:00", due=ASK),
    hour(case="a clock set forward by a day asks for that day", now="2026-11-23 08:00",
         phone=True, asked=EIGHT, told=EIGHT, due="phone, ask of 2026-11-23 08:00"),
    hour(case="approved, and dead again by 11:10: the request is answered, the phone asked anew",
         now="2026-11-20 11:10", phone=True, due="phone, remind of 2026-11-20 11:00"),
    # Refused, or failed in passing.
    hour(case="a refusal is not repeated: the person is told instead", now="2026-11-20 08:00:02",
         phone=True, asked="2026-11-20 08:00:01", refused="under review", due=TELL),
    hour(case="nor at the next stage", now="2026-11-20 08:30", phone=True,
         asked="2026-11-20 08:00:01", refused="under review", told=EIGHT,
         due="remind of 2026-11-20 08:30"),
    hour(case="yesterday's refusal is yesterday's", now=EIGHT, phone=True,
         asked="2026-11-19 08:00", refused="under review", due=ASK),
    hour(case="a retry in five seconds is waited for, before any word", now="2026-11-20 08:00:01",
         phone=True, asked="2026-11-20 08:00:01", again="2026-11-20 08:00:06",
         due="wait until 2026-11-20 08:00:06"),
    hour(case="a retry is due at its time", now="2026-11-20 08:00:06", phone=True,
         asked="2026-11-20 08:00:01", again="2026-11-20 08:00:06", due=ASK),
    hour(case="a retry in a minute is still near", now="2026-11-20 08:05", phone=True,
         asked="2026-11-20 08:05", again="2026-11-20 08:06", due="wait until 2026-11-20 08:06"),
    hour(case="a retry in more than a minute is not: the person is told", now="2026-11-20 08:05",
         phone=True, asked="2026-11-20 08:05", again="2026-11-20 08:06:01", due=TELL),
    hour(case="and then it is waited for", now="2026-11-20 08:05", phone=True,
         asked="2026-11-20 08:05", again="2026-11-20 08:06:01", told=EIGHT,
         due="wait until 2026-11-20 08:06:01"),
    hour(case="told or not, it is asked then", now="2026-11-20 08:06:01", phone=True,
         asked="2026-11-20 08:05", again="2026-11-20 08:06:01", told=EIGHT, due=ASK),
    hour(case="an hour of Retry-After is kept, the reminder comes between",
         now="2026-11-20 08:30", phone=True, asked=EIGHT, again="2026-11-20 09:00", told=EIGHT,
         due="remind of 2026-11-20 08:30"),
    hour(case="a retry saved under a clock since set back is void", now="2026-11-20 08:00:10",
         phone=True, asked="2026-11-20 08:00:01", again="2026-11-20 09:00:11", due=ASK),
    hour(case="a retry of yesterday is void", now="2026-11-20 07:00", phone=True,
         asked="2026-11-19 15:25", again="2026-11-19 15:35", due=f"wait until {EIGHT}"),
    # Late starts, closed days.
    hour(case="started at 09:20, the phone is asked at once", now="2026-11-20 09:20", phone=True,
         due="phone, alarm of 2026-11-20 09:00"),
    hour(case="and at 15:29 still", now="2026-11-20 15:29:59", phone=True,
         due="phone, remind of 2026-11-20 15:00"),
    hour(case="at the close no more", now="2026-11-20 15:30", phone=True,
         due="wait until 2026-11-23 08:00"),
    hour(case="on Saturday nobody is asked", now="2026-11-21 09:00", phone=True,
         due="wait until 2026-11-23 08:00"),
    hour(case="on a holiday nobody is asked", now=EIGHT, phone=True, rules=HOLIDAY,
         due="wait until 2026-11-23 08:00"),
    # The ways in order.
    hour(case="a silent way comes first", now=EIGHT, phone=True, silent=True, due="renew"),
    hour(case="a silent way that is tried again within a minute does, too", now=EIGHT, phone=True,
         silent=True, failures=3, retry="2026-11-20 08:01", due="wait until 2026-11-20 08:01"),
    hour(case="a silent way that has failed for long does not", now=EIGHT, phone=True,
         silent=True, failures=30, retry="2026-11-20 08:07", due=ASK),
    hour(case="the phone asked, the silent way is still tried", now="2026-11-20 08:07",
         phone=True, silent=True, failures=30, retry="2026-11-20 08:07", asked=EIGHT, told=EIGHT,
         due="renew"),
    hour(case="the phone asked, its retry is what comes next", now="2026-11-20 08:01",
         phone=True, silent=True, failures=30, retry="2026-11-20 08:07", asked=EIGHT, told=EIGHT,
         due="wait until 2026-11-20 08:07"),
    hour(case="an unknown token is looked at first", now=EIGHT, phone=True, token="unknown",
         due="find out"),
    hour(case="an unknown token nobody can look at for long does not hold it up", now=EIGHT,
         phone=True, token="unknown", failures=9, retry="2026-11-20 08:08", due=ASK),
    # After the request.
    hour(case="reminded at 08:30", now="2026-11-20 08:30", phone=True, asked=EIGHT, told=EIGHT,
         due="remind of 2026-11-20 08:30"),
    hour(case="alarmed at 09:00", now="2026-11-20 09:00", phone=True, asked=EIGHT,
         told="2026-11-20 08:55", due="alarm of 2026-11-20 09:00"),
    hour(case="approved at 08:12, silence", now="2026-11-20 08:12", phone=True,
         token="2026-11-21 03:30", due="wait until 2026-11-21 03:30"),
]  # fmt: skip


@pytest.mark.parametrize("case", PHONE_HOURS, ids=[case["case"] for case in PHONE_HOURS])
def test_with_a_phone_due_is(case):
    """The one thing that is due, or until when nothing is."""
    now, situation, rules, due = read(case)

    assert in_words(decide(now, situation, rules)) == due


@pytest.mark.parametrize("case", PHONE_HOURS, ids=[case["case"] for case in PHONE_HOURS])
def test_whose_phone_is_asked_is_needed(case):
    """`person_is_needed` holds wherever phone or person is addressed, not where help is near."""
    now, situation, rules, due = read(case)

    if " of " in due:
        assert person_is_needed(now, situation, rules)
    elif due in ("renew", "find out"):
        assert not person_is_needed(now, situation, rules)


def days_words(situation: Situation, answer, start="2026-11-20 03:31") -> list[str]:
    """Return what a day brings; `answer` is what becomes of a request made at a time."""
    now, said = ist(start), []
    while now < ist("2026-11-21 03:30"):
        decision = decide(now, situation, Rules())
        match decision:
            case Wait(until):
                now = until
                continue
            case AskApproval(due_at=due_at):
                approval = answer(now)
                is_taken = approval.retry_at is None and not approval.refusal
                told = due_at if is_taken else situation.told
                situation = replace(situation, approval=approval, told=told)
            case TellPerson(due_at=due_at):
                situation = replace(situation, told=due_at)
        said.append(f"{now:%H:%M} {in_words(decision).partition(' of ')[0]}")
    return said


AFTER_NINE = [f"{9 + n // 2:02}:{n % 2 * 30:02} remind" for n in range(1, 13)]
REMINDERS = ["08:30 remind", "08:45 remind", "08:55 remind", "09:00 alarm", *AFTER_NINE]


def test_a_day_nobody_approves_has_one_request_and_the_reminders():
    """The request is the first word; 08:30, 08:45, 08:55, the alarm, then each half hour."""
    said = days_words(Situation(Life.NONE, can_ask_phone=True), Approval)

    assert said == ["08:00 phone, ask", *REMINDERS]


def test_a_day_of_a_refused_app_has_one_request_and_the_link_at_once():
    """What the broker has refused today it refuses all day."""
    situation = Situation(Life.NONE, can_ask_phone=True)
    said = days_words(situation, lambda now: Approval(now, refusal="under review"))

    assert said == ["08:00 phone, ask", "08:00 ask", *REMINDERS]


def test_a_late_start_asks_once_and_goes_on_from_there():
    """The request at 09:20 stands for the alarm."""
    said = days_words(Situation(Life.NONE, can_ask_phone=True), Approval, "2026-11-20 09:20")

    assert said == ["09:20 phone, alarm", *AFTER_NINE]


def test_a_broker_that_is_down_all_morning_is_asked_again_and_the_person_told_each_stage():
    """The retries, ten minutes apart, neither replace nor repeat a reminder."""
    pause = timedelta(minutes=10)
    situation = Situation(Life.NONE, can_ask_phone=True)
    said = days_words(situation, lambda now: Approval(now, retry_at=now + pause, tries=1))

    notices = [line for line in said if "phone" not in line]
    requests = [line[:5] for line in said if "phone" in line]
    assert notices == ["08:00 ask", *REMINDERS]
    assert requests[:4] == ["08:00", "08:10", "08:20", "08:30"]
    assert len(requests) == 45  # to the close, none after it


def test_a_retry_that_succeeds_stands_for_no_second_notice():
    """Told at 08:00 as the broker was down; taken at 08:10; the next word is the reminder's."""

    def answer(now):
        is_down = now < ist("2026-11-20 08:10")
        return Approval(now, retry_at=now + timedelta(minutes=10)) if is_down else Approval(now)

    said = days_words(Situation(Life.NONE, can_ask_phone=True), answer)

    assert said == ["08:00 phone, ask", "08:00 ask", "08:10 phone, ask", *REMINDERS]


KEY = {"UPSTOX_NOTIFIER_SECRET": "k" * 43}
GONE = {"token": None, "expires_at": None}
APP_PRINT = load_settings(
    {"UPSTOX_CLIENT_ID": "i", "UPSTOX_CLIENT_SECRET": "s"}, {}
).credentials_fingerprint
CAN_ASK = {
    "a listener, an address and an app": ({}, True),
    "no listener": ({"is_listening": False}, False),
    "no address yet": ({"UPSTOX_NOTIFIER_SECRET": ""}, False),
    "the way left out": ({"UPSTOX_RENEWAL": "refresh_grant,browser_login"}, False),
    "no client ID": ({"UPSTOX_CLIENT_ID": ""}, False),
    "no client secret": ({"UPSTOX_CLIENT_SECRET": ""}, False),
    "the app refused": ({"state": State(refused=(APP_PRINT,))}, False),
    "another app refused": ({"state": State(refused=("00000000",))}, True),
    "this way alone": ({"UPSTOX_RENEWAL": "phone_approval"}, True),
}


@pytest.mark.parametrize(("found", "can_ask"), CAN_ASK.values(), ids=CAN_ASK)
def test_the_phone_can_be_asked_with(found, can_ask):
    """All of: the way wanted, an app, an address, and somebody who listens at it."""
    look = look_at(ist("2026-11-20 08:00"), **{"is_listening": True, **KEY, **GONE, **found})

    assert look.situation.can_ask_phone is can_ask
    assert next_step(look).what == (
        "ask for approval on your phone" if can_ask else "ask for a login"
    )
    assert ("approval on the phone" in renewal_sentence(look)) is can_ask


def test_the_saved_request_reaches_the_plan():
    """Asked before the restart, not asked after it."""
    asked = Approval(ist("2026-11-20 08:00"))
    look = look_at(
        ist("2026-11-20 08:01"), is_listening=True, state=State(approval=asked), **KEY, **GONE
    )

    assert look.situation.approval == asked
    assert isinstance(look.decision, TellPerson)


def test_an_answered_request_stands_until_its_token_has_died():
    """A crash before the token is in the file asks nobody again; an early death does."""
    asked = State(approval=Approval(ist("2026-11-20 08:00"), answered="11111111"))

    def is_phone_asked(*refused):
        state = replace(asked, refused=refused)
        look = look_at(ist("2026-11-20 11:10"), is_listening=True, state=state, **KEY, **GONE)
        return isinstance(look.decision, AskApproval)

    assert not is_phone_asked()
    assert not is_phone_asked("22222222")
    assert is_phone_asked("22222222", "11111111")


def test_the_request_of_monday_is_foretold_on_friday():
    """A live token on Friday noon: the next thing is the phone on Monday at 08:00."""
    step = next_step(look_at(is_listening=True, **KEY))

    assert step.what == "ask for approval on your phone"
    assert step.at == ist("2026-11-23 08:00")
    assert next_cut(step.at) == ist("2026-11-24 03:30")
