"""What is due: a table of hard hours. 20 November 2026 is a Friday."""

from datetime import date, time, timedelta

import pytest
from support.house import ist
from unit.plan.table import hour, in_words, read

from broker_tokens.backoff import FIRST_RETRY, LAST_RETRY, retry_delay
from broker_tokens.calendar import SessionHours, TradingCalendar
from broker_tokens.expiry import next_cut
from broker_tokens.model import Stage
from broker_tokens.policy import (
    Life,
    RenewSilently,
    Rules,
    Situation,
    TellPerson,
    Wait,
    decide,
    person_is_needed,
)

YEAR = "2027-11-19 03:30"  # a Friday
MCX = SessionHours(time(9, 0), time(23, 55))
EVENING = Rules(calendar=TradingCalendar(MCX))
LATE = Rules(approval_time=time(10, 0))


# token: its end, or "unknown"; none by default. silent: a way without a person is available.
HARD_HOURS = [
    # The night: the run of --time, then the cut.
    hour(case="the nightly run is due at 02:00 sharp", now="2026-11-20 02:00",
         token="2026-11-20 03:30", renewed="2026-11-19 03:31", silent=True, due="renew"),
    hour(case="a minute before the nightly run there is nothing to do", now="2026-11-20 01:59",
         token="2026-11-20 03:30", renewed="2026-11-19 03:31", silent=True,
         due="wait until 2026-11-20 02:00"),
    hour(case="at 02:00 a token without a silent way is left to die", now="2026-11-20 02:00",
         token="2026-11-20 03:30", due="wait until 2026-11-20 03:30"),
    hour(case="what 02:00 brought is not renewed again before it dies", now="2026-11-20 03:29",
         token="2026-11-20 03:30", renewed="2026-11-20 02:00:02", silent=True,
         due="wait until 2026-11-20 03:30"),
    hour(case="at 03:30:00 the broker may still be in the old day", now="2026-11-20 03:30",
         token="2026-11-20 03:30", renewed="2026-11-20 02:00:02", silent=True,
         due="wait until 2026-11-20 03:31"),
    hour(case="at 03:30:30 it may still be, too", now="2026-11-20 03:30:30",
         token="2026-11-20 03:30", renewed="2026-11-20 02:00:02", silent=True,
         due="wait until 2026-11-20 03:31"),
    hour(case="at 03:31 the token of the day is fetched", now="2026-11-20 03:31",
         token="2026-11-20 03:30", renewed="2026-11-20 02:00:02", silent=True, due="renew"),
    hour(case="at 03:30:30 no first token is fetched either, it could be dead in 30 s",
         now="2026-11-20 03:30:30", silent=True, due="wait until 2026-11-20 03:31"),
    hour(case="at 03:30:30 an older dead token waits for the new day, too",
         now="2026-11-20 03:30:30", token="2026-11-18 03:30", silent=True,
         due="wait until 2026-11-20 03:31"),
    hour(case="at 03:30:30 a live unknown token may be one of the old day",
         now="2026-11-20 03:30:30", token="unknown", due="wait until 2026-11-20 03:31"),
    hour(case="a backoff that ends at 03:30:20 ends at 03:31", now="2026-11-20 03:29:50",
         token="2026-11-19 03:30", silent=True, failures=2, retry="2026-11-20 03:30:20",
         due="wait until 2026-11-20 03:31"),
    hour(case="the token of the day rests until the next night", now="2026-11-20 03:31:02",
         token="2026-11-21 03:30", renewed="2026-11-20 03:31:01", silent=True,
         due="wait until 2026-11-21 02:00"),
    hour(case="a token of the day needs nobody before it dies", now="2026-11-20 09:00",
         token="2026-11-21 03:30", due="wait until 2026-11-21 03:30"),
    # Failures.
    hour(case="a restart inside a backoff waits for its end", now="2026-11-20 04:00",
         token="2026-11-20 03:30", silent=True, failures=5, retry="2026-11-20 04:01:10",
         due="wait until 2026-11-20 04:01:10"),
    hour(case="the end of a backoff is the time for the next try", now="2026-11-20 04:01:10",
         token="2026-11-20 03:30", silent=True, failures=5, retry="2026-11-20 04:01:10",
         due="renew"),
    hour(case="a backoff saved under a clock since set back is void", now="2026-11-20 04:00",
         token="2026-11-20 03:30", silent=True, failures=5, retry="2030-01-01 04:01", due="renew"),
    hour(case="a backoff of just over an hour is void, too", now="2026-11-20 04:00",
         token="2026-11-20 03:30", silent=True, failures=1, retry="2026-11-20 05:00:01",
         due="renew"),
    hour(case="an hour of Retry-After is honoured", now="2026-11-20 04:00",
         token="2026-11-20 03:30", silent=True, failures=1, retry="2026-11-20 05:00",
         due="wait until 2026-11-20 05:00"),
    hour(case="a live token whose nightly run fails disturbs nobody", now="2026-11-20 02:10",
         token="2026-11-20 03:30", renewed="2026-11-19 03:31", silent=True, failures=7,
         retry="2026-11-20 02:18", due="wait until 2026-11-20 02:18"),
    hour(case="a dead token whose renewal fails all night is the person's at 08:00",
         now="2026-11-20 08:00", token="2026-11-20 03:30", silent=True, failures=30,
         retry="2026-11-20 08:07", due="ask of 2026-11-20 08:00"),
    hour(case="a laptop whose network is up a little later asks nobody", now="2026-11-20 08:40",
         token="2026-11-20 03:30", silent=True, failures=1, retry="2026-11-20 08:40:05",
         due="wait until 2026-11-20 08:40:05"),
    hour(case="an hour's Retry-After over the opening is the person's, first failure or not",
         now="2026-11-20 08:40", token="2026-11-20 03:30", silent=True, failures=1,
         retry="2026-11-20 09:40", due="remind of 2026-11-20 08:30"),
    # Missed runs, suspended machines, stepped clocks.
    hour(case="a missed 02:00 run is caught up", now="2026-11-20 02:40",
         token="2026-11-20 03:30", renewed="2026-11-19 03:31", silent=True, due="renew"),
    hour(case="a run caught up is not repeated", now="2026-11-20 02:41",
         token="2026-11-20 03:30", renewed="2026-11-20 02:40:01", silent=True,
         due="wait until 2026-11-20 03:30"),
    hour(case="a run missed by a day is not caught up for a token of this day",
         now="2026-11-20 12:00", token="2026-11-21 03:30", renewed="2026-11-17 03:31", silent=True,
         due="wait until 2026-11-21 02:00"),
    hour(case="down over several days: one renewal at the start", now="2026-11-20 11:00",
         token="2026-11-16 03:30", renewed="2026-11-15 03:31", silent=True, due="renew"),
    hour(case="down over several days without a silent way: one notice at the start",
         now="2026-11-20 11:00", token="2026-11-16 03:30", told="2026-11-16 15:00",
         due="remind of 2026-11-20 11:00"),
    hour(case="suspended over the night, awake at 08:20: silently", now="2026-11-20 08:20",
         token="2026-11-20 03:30", renewed="2026-11-19 20:00", silent=True, due="renew"),
    hour(case="suspended over the night, awake at 08:20: by the person", now="2026-11-20 08:20",
         token="2026-11-20 03:30", due="ask of 2026-11-20 08:00"),
    hour(case="a renewal noted in 2030 does not count as tonight's", now="2026-11-20 02:00",
         token="2026-11-20 03:30", renewed="2030-01-01 02:00", silent=True, due="renew"),
    hour(case="a renewal noted in 2030 does not renew a good token again",
         now="2026-11-20 09:00", token="2026-11-21 03:30", renewed="2030-01-01 02:00", silent=True,
         due="wait until 2026-11-21 02:00"),
    hour(case="a clock stepped forward over the cut renews at once", now="2026-11-23 10:00",
         token="2026-11-21 03:30", renewed="2026-11-20 03:31", silent=True, due="renew"),
    # Weekends.
    hour(case="on Saturday a dead token is renewed silently", now="2026-11-21 03:31",
         token="2026-11-21 03:30", renewed="2026-11-21 02:00", silent=True, due="renew"),
    hour(case="on Saturday nobody is asked", now="2026-11-21 09:30",
         token="2026-11-21 03:30", due="wait until 2026-11-23 08:00"),
    hour(case="on Sunday night nobody is asked", now="2026-11-22 23:59",
         due="wait until 2026-11-23 08:00"),
    hour(case="on Friday evening a dead session is over: Monday", now="2026-11-20 18:00",
         due="wait until 2026-11-23 08:00"),
    hour(case="on Friday evening a silent way is still taken", now="2026-11-20 18:00",
         silent=True, due="renew"),
    hour(case="on Monday at 08:00 the person is asked", now="2026-11-23 08:00",
         token="2026-11-21 03:30", told="2026-11-20 08:00", due="ask of 2026-11-23 08:00"),
    # A token that ends early, or that nobody knows.
    hour(case="a token refused at 11:10 is the person's at once", now="2026-11-20 11:10",
         due="remind of 2026-11-20 11:00"),
    hour(case="a token refused at 11:10 is renewed silently at once", now="2026-11-20 11:10",
         silent=True, renewed="2026-11-20 03:31", due="renew"),
    hour(case="an unknown token is looked at before the person is asked", now="2026-11-20 09:10",
         token="unknown", due="find out"),
    hour(case="an unknown token is looked at before a silent renewal", now="2026-11-20 02:00",
         token="unknown", silent=True, due="find out"),
    hour(case="a failed look is repeated after its backoff", now="2026-11-20 07:00",
         token="unknown", failures=3, retry="2026-11-20 07:00:20",
         due="wait until 2026-11-20 07:00:20"),
    hour(case="a look that failed for long leaves the session to the person",
         now="2026-11-20 09:00", token="unknown", failures=9, retry="2026-11-20 09:08",
         due="alarm of 2026-11-20 09:00"),
    hour(case="a look whose backoff is void is repeated at once", now="2026-11-20 09:00",
         token="unknown", failures=9, retry="2030-01-01 00:00", due="find out"),
    hour(case="an unknown token on Sunday is looked at", now="2026-11-22 12:00",
         token="unknown", due="find out"),
    # The stages of a day.
    hour(case="before 08:00 nobody is asked", now="2026-11-20 07:59:59",
         due="wait until 2026-11-20 08:00"),
    hour(case="asked at 08:00", now="2026-11-20 08:00", due="ask of 2026-11-20 08:00"),
    hour(case="told what was asked yesterday", now="2026-11-20 08:00",
         told="2026-11-19 15:00", due="ask of 2026-11-20 08:00"),
    hour(case="asked once", now="2026-11-20 08:00:01", told="2026-11-20 08:00",
         due="wait until 2026-11-20 08:30"),
    hour(case="reminded at 08:30", now="2026-11-20 08:30", told="2026-11-20 08:00",
         due="remind of 2026-11-20 08:30"),
    hour(case="reminded at 08:45", now="2026-11-20 08:45", told="2026-11-20 08:30",
         due="remind of 2026-11-20 08:45"),
    hour(case="reminded at 08:55", now="2026-11-20 08:55", told="2026-11-20 08:45",
         due="remind of 2026-11-20 08:55"),
    hour(case="alarmed at 09:00", now="2026-11-20 09:00", told="2026-11-20 08:55",
         due="alarm of 2026-11-20 09:00"),
    hour(case="reminded at 09:30", now="2026-11-20 09:30", told="2026-11-20 09:00",
         due="remind of 2026-11-20 09:30"),
    hour(case="reminded for the last time at 15:00", now="2026-11-20 15:00",
         told="2026-11-20 14:30", due="remind of 2026-11-20 15:00"),
    hour(case="after 15:00 the next word is Monday's, once the close has passed",
         now="2026-11-20 15:00:01", told="2026-11-20 15:00", due="wait until 2026-11-20 15:30"),
    hour(case="at the close nobody is told any more", now="2026-11-20 15:30",
         told="2026-11-20 15:00", due="wait until 2026-11-23 08:00"),
    hour(case="started at 10:17 without a token: one notice", now="2026-11-20 10:17",
         due="remind of 2026-11-20 10:00"),
    hour(case="started at 10:17: the next notice is at 10:30", now="2026-11-20 10:17:01",
         told="2026-11-20 10:00", due="wait until 2026-11-20 10:30"),
    hour(case="told at 15:00 by a clock since set back to 08:00: asked all the same",
         now="2026-11-20 08:00", told="2026-11-20 15:00", due="ask of 2026-11-20 08:00"),
    hour(case="told at 08:30 by a clock since corrected by a second: not told again",
         now="2026-11-20 08:29:59", told="2026-11-20 08:30", due="wait until 2026-11-20 08:30"),
    hour(case="told tomorrow, by a clock since set back a day: asked today",
         now="2026-11-20 08:00", told="2026-11-21 08:00", due="ask of 2026-11-20 08:00"),
    # Other rules.
    hour(case="a token that ends within the session does not cover it", now="2026-11-20 08:00",
         token="2026-11-20 15:29", due="ask of 2026-11-20 08:00"),
    hour(case="a token that ends with the session covers it", now="2026-11-20 08:00",
         token="2026-11-20 15:30", due="wait until 2026-11-20 15:30"),
    hour(case="asked at 10:00, the alarm at the opening stands", now="2026-11-20 09:00",
         rules=LATE, due="alarm of 2026-11-20 09:00"),
    hour(case="asked at 10:00, nothing comes before the alarm", now="2026-11-20 08:50",
         rules=LATE, due="wait until 2026-11-20 09:00"),
    hour(case="asked at 10:00, that is an ask, not the reminder of that hour",
         now="2026-11-20 10:00", rules=LATE, told="2026-11-20 09:30",
         due="ask of 2026-11-20 10:00"),
    hour(case="asked at 08:45, the reminder of that hour is left out", now="2026-11-20 08:46",
         rules=Rules(approval_time=time(8, 45)), due="ask of 2026-11-20 08:45"),
    hour(case="asked at 09:00, the alarm is one notice with it", now="2026-11-20 09:00",
         rules=Rules(approval_time=time(9, 0)), due="alarm of 2026-11-20 09:00"),
    hour(case="asked after the close: only alarm and reminders", now="2026-11-20 15:10",
         rules=Rules(approval_time=time(16, 0)), told="2026-11-20 15:00",
         due="wait until 2026-11-20 16:00"),
    hour(case="MCX reminds in the evening", now="2026-11-20 23:30",
         rules=EVENING, told="2026-11-20 23:00", due="remind of 2026-11-20 23:30"),
    hour(case="MCX is silent after its close", now="2026-11-20 23:55",
         rules=EVENING, told="2026-11-20 23:30", due="wait until 2026-11-23 08:00"),
    hour(case="a token of the day covers the MCX evening", now="2026-11-20 20:00",
         rules=EVENING, token="2026-11-21 03:30", due="wait until 2026-11-21 03:30"),
    hour(case="a holiday is a day without asking", now="2026-11-20 09:00",
         rules=Rules(calendar=TradingCalendar(days={date(2026, 11, 20): None})),
         due="wait until 2026-11-23 08:00"),
    hour(case="--time 10:00 renews at ten", now="2026-11-20 10:00",
         rules=Rules(refresh_time=time(10, 0)), token="2026-11-21 03:30",
         renewed="2026-11-20 03:31", silent=True, due="renew"),
    hour(case="--time 10:00 renews once", now="2026-11-20 10:01",
         rules=Rules(refresh_time=time(10, 0)), token="2026-11-21 03:30",
         renewed="2026-11-20 10:00:01", silent=True, due="wait until 2026-11-21 03:30"),
    hour(case="--time 10:00, at the cut: a dead token does not wait for ten",
         now="2026-11-21 03:31", rules=Rules(refresh_time=time(10, 0)), token="2026-11-21 03:30",
         renewed="2026-11-20 10:00:01", silent=True, due="renew"),
    hour(case="--time 03:00 renews at three", now="2026-11-20 03:00",
         rules=Rules(refresh_time=time(3, 0)), token="2026-11-20 03:30",
         renewed="2026-11-19 03:31", silent=True, due="renew"),
    hour(case="--time 03:30 falls together with the token of the day", now="2026-11-20 03:30",
         rules=Rules(refresh_time=time(3, 30)), token="2026-11-20 03:30",
         renewed="2026-11-19 03:31", silent=True, due="wait until 2026-11-20 03:31"),
    hour(case="--time 03:30 needs one renewal a day", now="2026-11-20 03:32",
         rules=Rules(refresh_time=time(3, 30)), token="2026-11-21 03:30",
         renewed="2026-11-20 03:31", silent=True, due="wait until 2026-11-21 03:30"),
    hour(case="--time 23:00 renews at eleven in the evening", now="2026-11-20 23:00",
         rules=Rules(refresh_time=time(23, 0)), token="2026-11-21 03:30",
         renewed="2026-11-20 03:31", silent=True, due="renew"),
    hour(case="--time 23:00, missed, is caught up after midnight", now="2026-11-21 00:30",
         rules=Rules(refresh_time=time(23, 0)), token="2026-11-21 03:30",
         renewed="2026-11-20 03:31", silent=True, due="renew"),
    hour(case="--time 00:00 renews at midnight", now="2026-11-20 00:00",
         rules=Rules(refresh_time=time(0, 0)), token="2026-11-20 03:30",
         renewed="2026-11-19 03:31", silent=True, due="renew"),
    # Tokens of other lengths.
    hour(case="a read-only token of a year needs nobody until it ends", now="2026-11-20 09:00",
         token=YEAR, due=f"wait until {YEAR}"),
    hour(case="a token of a year is not renewed nightly", now="2026-11-20 02:00",
         token=YEAR, silent=True, due="wait until 2027-11-19 02:00"),
    hour(case="a token of one hour is renewed five minutes ahead", now="2026-11-20 10:55",
         token="2026-11-20 11:00", renewed="2026-11-20 10:00", silent=True, due="renew"),
    hour(case="a token of one hour is not renewed before", now="2026-11-20 10:54:59",
         token="2026-11-20 11:00", renewed="2026-11-20 10:00", silent=True,
         due="wait until 2026-11-20 10:55"),
    hour(case="a token of one hour, silently renewed, disturbs nobody", now="2026-11-20 09:00",
         token="2026-11-20 09:30", renewed="2026-11-20 08:30", silent=True,
         due="wait until 2026-11-20 09:25"),
    hour(case="a failed renewal ahead of the end disturbs nobody while the token lives",
         now="2026-11-20 10:58", token="2026-11-20 11:00", renewed="2026-11-20 10:00", silent=True,
         failures=6, retry="2026-11-20 11:00:40", due="wait until 2026-11-20 11:00"),
    hour(case="once it is dead and no retry is near, it does", now="2026-11-20 11:00",
         token="2026-11-20 11:00", renewed="2026-11-20 10:00", silent=True,
         failures=7, retry="2026-11-20 11:05", due="remind of 2026-11-20 11:00"),
    hour(case="a token of four minutes lives half of them", now="2026-11-20 10:01:59",
         token="2026-11-20 10:04", renewed="2026-11-20 10:00", silent=True,
         due="wait until 2026-11-20 10:02"),
    hour(case="a token of a minute is renewed in time", now="2026-11-20 10:00:30",
         token="2026-11-20 10:01", renewed="2026-11-20 10:00", silent=True, due="renew"),
    hour(case="a token of one second is not renewed every second, and disturbs nobody",
         now="2026-11-20 10:00:02", token="2026-11-20 10:00:01", renewed="2026-11-20 10:00",
         silent=True, due="wait until 2026-11-20 10:00:30"),
    hour(case="a token that was dead when it was found is renewed at once",
         now="2026-11-20 10:00", token="2026-11-19 17:00", renewed="2026-11-20 10:00", silent=True,
         due="renew"),
]  # fmt: skip


@pytest.mark.parametrize("case", HARD_HOURS, ids=[case["case"] for case in HARD_HOURS])
def test_due_is(case):
    """The one thing that is due, or until when nothing is."""
    now, situation, rules, due = read(case)

    assert in_words(decide(now, situation, rules)) == due


@pytest.mark.parametrize("case", HARD_HOURS, ids=[case["case"] for case in HARD_HOURS])
def test_whoever_is_told_is_needed(case):
    """`person_is_needed` holds wherever the person is told, and nowhere where help is near."""
    now, situation, rules, due = read(case)

    if " of " in due:
        assert person_is_needed(now, situation, rules)
    elif due in ("renew", "find out"):
        assert not person_is_needed(now, situation, rules)


def test_a_day_without_a_token_has_these_notices_and_no_more():
    """Ask, three reminders, alarm, then every half hour to the session's end: once each."""
    now, told, notices = ist("2026-11-20 03:31"), None, []
    while now < ist("2026-11-21 03:30"):
        decision = decide(now, Situation(Life.NONE, told=told), Rules())
        if isinstance(decision, TellPerson):
            notices.append(in_words(decision).replace("of 2026-11-20 ", ""))
            told = decision.due_at
        else:
            assert isinstance(decision, Wait)
            now = decision.until

    assert notices == [
        "ask 08:00", "remind 08:30", "remind 08:45", "remind 08:55", "alarm 09:00",
        "remind 09:30", "remind 10:00", "remind 10:30", "remind 11:00", "remind 11:30",
        "remind 12:00", "remind 12:30", "remind 13:00", "remind 13:30", "remind 14:00",
        "remind 14:30", "remind 15:00",
    ]  # fmt: skip


@pytest.mark.parametrize("failures", range(1, 40))
@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999999])
def test_a_retry_waits_twice_as_long_each_time_from_5_s_to_10_min(failures, jitter):
    """Jitter takes up to a quarter off, never below 5 s."""
    full = min(timedelta(seconds=5 * 2 ** (failures - 1)), timedelta(minutes=10))

    delay = retry_delay(failures, jitter)

    assert full * 0.75 <= delay <= full or delay == FIRST_RETRY
    assert FIRST_RETRY <= delay <= LAST_RETRY


@pytest.mark.parametrize("failures", [0, -3, 10**9])
def test_no_count_of_failures_makes_the_wait_strange(failures):
    """A damaged state file cannot stop the retries or make them run hot."""
    assert FIRST_RETRY <= retry_delay(failures, 0.0) <= LAST_RETRY


def test_without_jitter_the_waits_are():
    """5 s doubled, and ten minutes at most."""
    waits = [int(retry_delay(n, 0.0).total_seconds()) for n in range(1, 10)]

    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_each_silent_day_has_two_renewals():
    """02:00 and 03:31, on the weekend too; nobody is asked."""
    now, renewed, expires = ist("2026-11-20 01:00"), ist("2026-11-19 03:31"), None
    expires = next_cut(renewed)
    renewals = []
    while now < ist("2026-11-23 16:00"):
        situation = Situation(Life.KNOWN, expires, is_silent=True, renewed_at=renewed)
        decision = decide(now, situation, Rules())
        if isinstance(decision, RenewSilently):
            renewals.append(now)
            renewed, expires = now, next_cut(now)
        else:
            assert isinstance(decision, Wait)
            now = decision.until

    days = [date(2026, 11, 20) + timedelta(days=n) for n in range(4)]
    assert renewals == [ist(f"{day} {at}") for day in days for at in ("02:00", "03:31")]


def test_the_alarm_is_the_only_stage_named_so():
    """One alarm a day, at the opening."""
    assert [stage.value for stage in Stage] == ["ask", "remind", "alarm"]
