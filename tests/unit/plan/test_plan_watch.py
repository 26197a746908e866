"""What the service looks at by itself, and when: the token's life and the calendar."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.house import ist
from unit.plan.moments import all_rules, instants, lengths, many, moments

from broker_tokens.calendar import TradingCalendar
from broker_tokens.clock import ist_date
from broker_tokens.model import MarketDays, Session
from broker_tokens.policy import Life, Rules, Situation
from broker_tokens.watch import (
    CALENDAR_PACE,
    CALENDAR_RETRY,
    PROBE_LEAD,
    PROBE_PACE,
    calendar_due_at,
    probe_due_at,
)


def maybe(text: str | None) -> datetime | None:
    return None if text is None else ist(text)


# now, when it was last asked for, when it was last learned, and when it is due.
CALENDAR_HOURS = {
    "never asked: at once": ("2026-11-20 07:00", None, None, "2026-11-20 07:00"),
    "learned: twenty hours later": (
        "2026-11-20 07:00", "2026-11-20 06:00", "2026-11-20 06:00", "2026-11-21 02:00"),
    "learned a second after it was asked": (
        "2026-11-20 07:00", "2026-11-20 06:00", "2026-11-20 06:00:01", "2026-11-21 02:00"),
    "failed the first time: an hour later": (
        "2026-11-20 07:00", "2026-11-20 06:30", None, "2026-11-20 07:30"),
    "failed after it was once learned: an hour later": (
        "2026-11-20 07:00", "2026-11-20 06:30", "2026-11-19 10:00", "2026-11-20 07:30"),
    "asked in the future, the clock was set back: at once": (
        "2026-11-20 07:00", "2026-11-20 07:00:01", "2026-11-20 07:00:01", "2026-11-20 07:00"),
    "asked in 2030: at once": (
        "2026-11-20 07:00", "2030-01-01 00:00", "2030-01-01 00:00", "2026-11-20 07:00"),
    "failed now, learned in 2030 by a clock since set right: an hour later": (
        "2026-11-20 07:00", "2026-11-20 06:30", "2030-01-01 00:00", "2026-11-20 07:30"),
    "long ago, the machine was off": (
        "2026-11-20 07:00", "2026-11-02 06:00", "2026-11-02 06:00", "2026-11-03 02:00"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "asked", "learned", "due"), CALENDAR_HOURS.values(), ids=CALENDAR_HOURS
)
def test_the_calendar_is_asked_for(now, asked, learned, due):
    """At once, or a pace after the last time."""
    known = MarketDays(asked_at=maybe(asked), learned_at=maybe(learned))

    assert calendar_due_at(ist(now), known) == ist(due)


@many
@given(instants, st.none() | lengths, st.none() | lengths)
def test_the_calendar_is_asked_for_hourly_at_most_and_daily_at_least(now, asked, learned):
    """Whatever was saved: after asking now there is an hour's rest, and never more than a day's."""
    known = MarketDays(
        asked_at=None if asked is None else now - asked,
        learned_at=None if learned is None else now - learned,
    )
    assert calendar_due_at(now, known) <= now + CALENDAR_PACE

    failed = MarketDays(asked_at=now, learned_at=known.learned_at)
    assert calendar_due_at(now, failed) >= now + CALENDAR_RETRY
    assert calendar_due_at(now, MarketDays(asked_at=now, learned_at=now)) == now + CALENDAR_PACE


CUT = "2026-11-21 03:30"
HOLIDAY = Rules(calendar=TradingCalendar(days={date(2026, 11, 20): None}))
EVENING = Rules(
    calendar=TradingCalendar(
        days={date(2026, 11, 20): Session(ist("2026-11-20 17:00"), ist("2026-11-20 23:55"))}
    )
)


def row(
    now: str,
    due: str | None,
    token: str | None = CUT,
    renewed: str | None = "2026-11-20 03:31",
    probed: str | None = None,
    rules: Rules | None = None,
) -> tuple:
    """Return the time, a situation, the last probe, the rules and what is expected."""
    life = {None: Life.NONE, "unknown": Life.UNKNOWN}.get(token, Life.KNOWN)
    expires_at = ist(token) if life is Life.KNOWN else None
    situation = Situation(life, expires_at, renewed_at=maybe(renewed))
    return ist(now), situation, maybe(probed), rules or Rules(), maybe(due)


PROBE_HOURS = {
    "ten minutes before the session opens": row("2026-11-20 04:00", "2026-11-20 08:50"),
    "then it is due": row("2026-11-20 08:50", "2026-11-20 08:50"),
    "a pace after the last one": row(
        "2026-11-20 11:00", "2026-11-20 11:07", probed="2026-11-20 10:57"),
    "probed at night, still before the session": row(
        "2026-11-20 04:00", "2026-11-20 08:50", probed="2026-11-20 03:50"),
    "just before the lead, a pace later": row(
        "2026-11-20 08:46", "2026-11-20 08:55", probed="2026-11-20 08:45"),
    "just renewed, the broker has just given it": row(
        "2026-11-20 11:00", "2026-11-20 11:09", renewed="2026-11-20 10:59",
        probed="2026-11-20 10:50"),
    "renewed by nobody knows whom, at once": row(
        "2026-11-20 11:00", "2026-11-20 08:50", renewed=None),
    "a machine that slept is late, not early": row(
        "2026-11-20 11:00", "2026-11-20 09:15", probed="2026-11-20 09:05"),
    "probed in the future, the clock was set back: by the other sign": row(
        "2026-11-20 11:00", "2026-11-20 08:50", probed="2026-11-20 12:00"),
    "renewed in the future, the clock was set back: by the other sign": row(
        "2026-11-20 11:00", "2026-11-20 11:06", renewed="2030-01-01 00:00",
        probed="2026-11-20 10:56"),
    "once more in the session's last minutes": row(
        "2026-11-20 15:25", "2026-11-20 15:29:59", probed="2026-11-20 15:19:59"),
    "not at its close": row("2026-11-20 15:25", None, probed="2026-11-20 15:20"),
    "nor after it, the token will not see the next session": row("2026-11-20 15:30", None),
    "nor at night": row("2026-11-20 02:00", None, token="2026-11-20 03:30"),
    "a token that ends before the next probe is left to end": row(
        "2026-11-20 11:00", None, token="2026-11-20 11:05", probed="2026-11-20 10:55"),
    "one that ends a second after it is not": row(
        "2026-11-20 11:00", "2026-11-20 11:05", token="2026-11-20 11:05:01",
        probed="2026-11-20 10:55"),
    "a dead token is not probed": row("2026-11-20 11:00", None, token="2026-11-20 03:30"),
    "nor none": row("2026-11-20 11:00", None, token=None),
    "an unknown one is the plan's affair": row("2026-11-20 11:00", None, token="unknown"),
    "on Saturday nothing is probed, the token ends before Monday": row(
        "2026-11-21 10:00", None, token="2026-11-22 03:30"),
    "a token of a year is probed on Monday": row(
        "2026-11-21 10:00", "2026-11-23 08:50", token="2027-11-19 03:30"),
    "on a holiday nothing is probed": row("2026-11-20 11:00", None, rules=HOLIDAY),
    "before an evening session, ten minutes ahead of that": row(
        "2026-11-20 09:00", "2026-11-20 16:50", rules=EVENING),
    "in an evening session at the same pace": row(
        "2026-11-20 23:40", "2026-11-20 23:49", probed="2026-11-20 23:39", rules=EVENING),
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "situation", "probed", "rules", "due"), PROBE_HOURS.values(), ids=PROBE_HOURS
)
def test_the_token_is_probed(now, situation, probed, rules, due):
    """Around the session, at its pace, while it lives; a time that has passed means at once."""
    assert probe_due_at(now, situation, rules, probed) == due


def test_a_day_of_probes_is_modest_and_inside_the_session():
    """From 08:50 each ten minutes to the close."""
    now, probed, probes = ist("2026-11-20 03:31"), None, []
    situation = Situation(Life.KNOWN, ist(CUT), renewed_at=now)
    while (due := probe_due_at(now, situation, Rules(), probed)) is not None:
        now = probed = max(now, due)
        probes.append(f"{now:%H:%M}")

    assert (probes[0], probes[-1], len(probes)) == ("08:50", "15:20", 40)


@many
@given(moments(), all_rules, st.none() | lengths)
def test_a_probe_is_of_a_live_token_around_a_session_and_leaves_a_pace_of_rest(
    moment, rules, since
):
    """Whatever the files say; and once probed, the next is a pace away."""
    now, situation = moment
    probed_at = None if since is None else now - since

    due = probe_due_at(now, situation, rules, probed_at)

    if due is None:
        return
    at = max(now, due)
    session = rules.calendar.session_on(ist_date(at))
    assert session is not None
    assert session.opens - PROBE_LEAD <= at < session.closes
    assert situation.life is Life.KNOWN
    assert situation.is_live(at)
    after = probe_due_at(at, situation, rules, at)
    assert after is None or after >= at + PROBE_PACE
