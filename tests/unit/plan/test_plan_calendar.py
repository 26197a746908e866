"""Sessions, clock times, and how they are written for people."""

from datetime import UTC, date, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from support.house import ist

from broker_tokens.calendar import SessionHours, TradingCalendar
from broker_tokens.clock import (
    IST,
    format_duration,
    format_ist,
    last_occurrence,
    next_occurrence,
    system_clock,
)
from broker_tokens.model import Session

EQUITY = SessionHours()
MCX = SessionHours(time(9, 0), time(23, 55))
TO_MIDNIGHT = SessionHours(time(9, 0), time(23, 59))

COMING = {
    "the session of the day, before it opens": ("2026-11-20 00:00", EQUITY, "2026-11-20 09:00"),
    "the session that is open": ("2026-11-20 12:00", EQUITY, "2026-11-20 09:00"),
    "still open in its last second": ("2026-11-20 15:29:59", EQUITY, "2026-11-20 09:00"),
    "Friday's close leads to Monday": ("2026-11-20 15:30", EQUITY, "2026-11-23 09:00"),
    "Saturday leads to Monday": ("2026-11-21 10:00", EQUITY, "2026-11-23 09:00"),
    "Sunday night leads to Monday": ("2026-11-22 23:59:59", EQUITY, "2026-11-23 09:00"),
    "Thursday evening leads to Friday": ("2026-11-19 20:00", EQUITY, "2026-11-20 09:00"),
    "the year's end": ("2026-12-31 15:30", EQUITY, "2027-01-01 09:00"),
    "a leap day": ("2028-02-28 15:30", EQUITY, "2028-02-29 09:00"),
    "MCX is open in the evening": ("2026-11-20 23:54", MCX, "2026-11-20 09:00"),
    "MCX after its close": ("2026-11-20 23:55", MCX, "2026-11-23 09:00"),
    "open to the last minute of the day": ("2026-11-19 23:58:59", TO_MIDNIGHT, "2026-11-19 09:00"),
    "closed in the last minute": ("2026-11-19 23:59", TO_MIDNIGHT, "2026-11-20 09:00"),
}


@pytest.mark.parametrize(("now", "hours", "opens"), COMING.values(), ids=COMING)
def test_the_coming_session_is(now, hours, opens):
    """The one that is open, else the next to open."""
    session = TradingCalendar(hours).coming_session(ist(now))

    assert session.opens == ist(opens)
    assert session.closes > ist(now)


def test_the_ist_date_counts_not_the_hosts():
    """19:00 UTC on Thursday is Friday in India; so is noon on Friday in Kiritimati."""
    friday = TradingCalendar().session_on(date(2026, 11, 20))

    assert TradingCalendar().coming_session(ist("2026-11-20 00:30").astimezone(UTC)) == friday
    kiritimati = timezone(timedelta(hours=14))
    assert (
        TradingCalendar().coming_session(ist("2026-11-20 15:00").astimezone(kiritimati)) == friday
    )


def test_a_holiday_is_passed_over():
    """A closed Monday leads to Tuesday."""
    calendar = TradingCalendar(days={date(2026, 11, 23): None})

    session = calendar.coming_session(ist("2026-11-20 16:00"))

    assert calendar.session_on(date(2026, 11, 23)) is None
    assert session.opens == ist("2026-11-24 09:00")


def test_special_sessions_have_their_own_hours():
    """A Muhurat evening on a Sunday and a special Saturday count; a holiday's evening does too."""
    muhurat = Session(ist("2026-11-08 17:45"), ist("2026-11-08 19:15"))
    saturday = Session(ist("2026-11-21 09:00"), ist("2026-11-21 12:30"))
    calendar = TradingCalendar(
        days={date(2026, 11, 8): muhurat, date(2026, 11, 21): saturday, date(2026, 11, 20): None}
    )

    assert calendar.coming_session(ist("2026-11-06 15:30")) == muhurat
    assert calendar.coming_session(ist("2026-11-08 19:15")).opens == ist("2026-11-09 09:00")
    assert calendar.coming_session(ist("2026-11-19 16:00")) == saturday


def test_the_week_has_five_trading_days():
    """Monday to Friday."""
    week = [date(2026, 11, 16) + timedelta(days=n) for n in range(7)]

    assert [TradingCalendar().session_on(day) is not None for day in week] == [True] * 5 + [
        False
    ] * 2


@budget(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.datetimes(timezones=st.just(UTC), max_value=ist("9000-01-01 00:00").replace(tzinfo=None)),
    st.times(),
)
def test_two_occurrences_embrace_every_instant_and_lie_one_day_apart(instant, at):
    """The last one is not after the instant, the next one is after it, and both read `at`."""
    if instant.year < 2:
        return
    last, coming = last_occurrence(instant, at), next_occurrence(instant, at)

    assert last <= instant < coming
    assert coming - last == timedelta(days=1)
    assert last.astimezone(IST).time() == coming.astimezone(IST).time() == at


def test_the_system_clock_is_aware_and_in_utc():
    """No naive time enters the house."""
    assert system_clock().tzinfo is UTC


def test_an_instant_is_written_as_people_in_india_read_it():
    """In IST, with its weekday."""
    assert format_ist(ist("2026-11-20 03:30").astimezone(UTC)) == "Fri 20 Nov 2026 03:30 IST"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (25_920, "7 h 12 min"),
        (86_400, "1 day 0 h"),
        (183_600, "2 days 3 h"),
    ],
)
def test_a_length_of_time_is_written_in_words(seconds, words):
    """The two largest units tell enough."""
    assert format_duration(timedelta(seconds=seconds)) == words
