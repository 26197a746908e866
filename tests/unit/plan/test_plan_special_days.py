"""Holidays and special sessions: what is due when the week is not an ordinary one.

8 November 2026 is a Sunday, the 20th a Friday.
"""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from support.house import ist
from unit.plan.looks import look_at
from unit.plan.table import hour, in_words, read

from broker_tokens.calendar import TradingCalendar
from broker_tokens.model import Approval, MarketDays, Session, Stage, State
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
from broker_tokens.stages import stages_of


def session(opens: str, closes: str) -> Session:
    """Return a session of one day: `2026-11-08 17:45` to `19:15`."""
    return Session(ist(opens), ist(f"{opens[:10]} {closes}"))


MUHURAT = session("2026-11-08 17:45", "19:15")
SATURDAY = session("2026-11-21 09:15", "12:30")
EVENING = session("2026-11-20 17:00", "23:55")  # an equity holiday on which MCX opens at five
MONDAY = date(2026, 11, 23)
DAYS = {
    date(2026, 11, 8): MUHURAT,
    date(2026, 11, 10): None,
    date(2026, 11, 20): EVENING,
    date(2026, 11, 21): SATURDAY,
    MONDAY: None,
}
RULES = Rules(calendar=TradingCalendar(days=DAYS))

SPECIAL_HOURS = [
    # Muhurat, on a Sunday evening.
    hour(case="Muhurat is asked for in the morning", now="2026-11-08 08:00", due="ask of 08:00"),
    hour(case="its reminders are those of its evening", now="2026-11-08 09:00",
         told="2026-11-08 08:00", due="wait until 2026-11-08 17:15"),
    hour(case="30 minutes ahead of it", now="2026-11-08 17:15", told="2026-11-08 08:00",
         due="remind of 17:15"),
    hour(case="15 minutes ahead of it", now="2026-11-08 17:30", told="2026-11-08 17:15",
         due="remind of 17:30"),
    hour(case="5 minutes ahead of it", now="2026-11-08 17:40", told="2026-11-08 17:30",
         due="remind of 17:40"),
    hour(case="alarm as it opens", now="2026-11-08 17:45", told="2026-11-08 17:40",
         due="alarm of 17:45"),
    hour(case="half an hour into it", now="2026-11-08 18:15", told="2026-11-08 17:45",
         due="remind of 18:15"),
    hour(case="for the last time", now="2026-11-08 18:45", told="2026-11-08 18:15",
         due="remind of 18:45"),
    hour(case="once it has closed, Monday counts", now="2026-11-08 19:15",
         told="2026-11-08 18:45", due="wait until 2026-11-09 08:00"),
    hour(case="a token that ends at 18:00 does not cover it", now="2026-11-08 08:00",
         token="2026-11-08 18:00", due="ask of 08:00"),
    hour(case="the token of its day does", now="2026-11-08 08:00", token="2026-11-09 03:30",
         due="wait until 2026-11-09 03:30"),
    hour(case="its phone is asked in the morning", now="2026-11-08 08:00", phone=True,
         due="phone, ask of 08:00"),
    hour(case="started while it is open", now="2026-11-08 18:00", phone=True,
         due="phone, alarm of 17:45"),
    hour(case="the Saturday before it is free", now="2026-11-07 12:00",
         due="wait until 2026-11-08 08:00"),
    # A holiday in the week.
    hour(case="a holiday's morning is silent", now="2026-11-10 08:00", phone=True,
         due="wait until 2026-11-11 08:00"),
    hour(case="so is its opening hour", now="2026-11-10 09:00", due="wait until 2026-11-11 08:00"),
    hour(case="and the evening before it", now="2026-11-09 16:00",
         due="wait until 2026-11-11 08:00"),
    hour(case="a silent way is taken on a holiday all the same", now="2026-11-10 09:00",
         silent=True, due="renew"),
    hour(case="somebody else's token is looked at on a holiday, too", now="2026-11-10 09:00",
         token="unknown", due="find out"),
    # A weekday that opens in the evening only.
    hour(case="an evening session has no alarm at nine", now="2026-11-20 09:00",
         told="2026-11-20 08:00", due="wait until 2026-11-20 16:30"),
    hour(case="but at its own opening", now="2026-11-20 17:00", told="2026-11-20 16:55",
         due="alarm of 17:00"),
    hour(case="and is reminded of late", now="2026-11-20 23:30", told="2026-11-20 23:00",
         due="remind of 23:30"),
    # A Saturday session, then a long weekend.
    hour(case="a special Saturday is asked for", now="2026-11-21 08:00", phone=True,
         asked="2026-11-20 08:00", told="2026-11-20 23:30", due="phone, ask of 08:00"),
    hour(case="its first reminder is half an hour before its own opening",
         now="2026-11-21 08:30", told="2026-11-21 08:00", due="wait until 2026-11-21 08:45"),
    hour(case="its alarm is at its opening", now="2026-11-21 09:15", told="2026-11-21 09:10",
         due="alarm of 09:15"),
    hour(case="after its close comes Tuesday, as Monday is a holiday", now="2026-11-21 12:30",
         due="wait until 2026-11-24 08:00"),
    hour(case="Sunday after it is free", now="2026-11-22 09:00", phone=True,
         due="wait until 2026-11-24 08:00"),
]  # fmt: skip


@pytest.mark.parametrize("case", SPECIAL_HOURS, ids=[case["case"] for case in SPECIAL_HOURS])
def test_on_special_days_due_is(case):
    """Each stage belongs to the session of its own day, or there is none."""
    now, situation, _, due = read(case)
    day = f"{now:%Y-%m-%d}"

    words = in_words(decide(now, situation, RULES))

    assert words.replace(f"of {day} ", "of ") == due


@pytest.mark.parametrize("has_phone", [True, False], ids=["phone", "link"])
@pytest.mark.parametrize("day", ["2026-11-10", "2026-11-14", "2026-11-15", "2026-11-23"])
def test_a_closed_day_brings_no_request_and_no_notice(day, has_phone):
    """Minute by minute, whatever was asked or told before."""
    start = ist(f"{day} 00:00")
    situations = [
        Situation(Life.NONE, can_ask_phone=has_phone),
        Situation(Life.KNOWN, start + timedelta(hours=3, minutes=30), can_ask_phone=has_phone),
        Situation(
            Life.NONE,
            can_ask_phone=has_phone,
            told=start - timedelta(hours=10),
            approval=Approval(start - timedelta(hours=10), retry_at=start + timedelta(hours=8)),
        ),
    ]

    for now in (start + timedelta(minutes=n) for n in range(24 * 60)):
        for situation in situations:
            assert isinstance(decide(now, situation, RULES), Wait)
            assert not person_is_needed(now, situation, RULES)


def test_a_fortnight_asks_once_for_each_session_and_never_else():
    """From Saturday the 7th to Tuesday the 24th, a person who never answers."""
    now, situation = ist("2026-11-07 00:00"), Situation(Life.NONE, can_ask_phone=True)
    requests, alarms = [], []
    while now < ist("2026-11-25 00:00"):
        decision = decide(now, situation, RULES)
        if isinstance(decision, Wait):
            now = decision.until
            continue
        assert isinstance(decision, AskApproval | TellPerson)
        situation = replace(situation, told=decision.due_at)
        if isinstance(decision, AskApproval):
            requests.append(now.day)
            situation = replace(situation, approval=Approval(now))
        if decision.stage is Stage.ALARM:
            alarms.append(f"{now:%d %H:%M}")

    assert requests == [8, 9, 11, 12, 13, 16, 17, 18, 19, 20, 21, 24]
    assert alarms == [
        "08 17:45", "09 09:00", "11 09:00", "12 09:00", "13 09:00", "16 09:00", "17 09:00",
        "18 09:00", "19 09:00", "20 17:00", "21 09:15", "24 09:00",
    ]  # fmt: skip


STAGES = {
    "an ordinary day": (session("2026-11-19 09:00", "10:00"), "08:00",
        "ask 08:00, remind 08:30, remind 08:45, remind 08:55, alarm 09:00, remind 09:30"),
    "an evening": (session("2026-11-19 17:45", "18:45"), "08:00",
        "ask 08:00, remind 17:15, remind 17:30, remind 17:40, alarm 17:45, remind 18:15"),
    "asked within the last half hour": (session("2026-11-19 09:00", "09:30"), "08:45",
        "ask 08:45, remind 08:55, alarm 09:00"),
    "asked at the opening": (session("2026-11-19 09:00", "09:30"), "09:00", "alarm 09:00"),
    "asked at an hour of a reminder": (session("2026-11-19 09:00", "10:01"), "09:30",
        "alarm 09:00, ask 09:30, remind 10:00"),
    "a session that is over before the reminder": (session("2026-11-19 04:00", "04:20"), "08:00",
        "alarm 04:00, ask 08:00"),
}  # fmt: skip


@pytest.mark.parametrize(("of", "approval_time", "expected"), STAGES.values(), ids=STAGES)
def test_the_stages_of_a_day_are(of, approval_time, expected):
    """In order, each hour once, each with the session it is for."""
    stages = stages_of(of, ist(f"2026-11-19 {approval_time}").time())

    assert ", ".join(f"{each.stage} {each.due_at:%H:%M}" for each in stages) == expected
    assert {each.session for each in stages} == {of}


def test_the_days_that_were_learned_reach_the_plan():
    """A holiday and a special session in the state file count at the next look."""
    gone = {"token": None, "expires_at": None}
    holiday = State(calendar=MarketDays({date(2026, 11, 20): None}))
    muhurat = State(calendar=MarketDays({date(2026, 11, 8): MUHURAT}))

    assert isinstance(look_at(ist("2026-11-20 08:00"), **gone).decision, TellPerson)
    assert isinstance(look_at(ist("2026-11-20 08:00"), state=holiday, **gone).decision, Wait)
    assert isinstance(look_at(ist("2026-11-08 17:45"), **gone).decision, Wait)
    told = look_at(ist("2026-11-08 17:45"), state=muhurat, **gone).decision
    assert isinstance(told, TellPerson)
    assert (told.stage, told.session) == (Stage.ALARM, MUHURAT)
