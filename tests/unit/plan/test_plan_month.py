"""A month of the plan against a broker, with restarts, outages and stepped clocks.

Only `decide` and `next_cut` are the product's; broker, outages and daemon are played here. Time is
walked from event to event, and uncovered market time is counted minute by minute.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from support.house import ist

from broker_tokens.backoff import LAST_RETRY, retry_delay
from broker_tokens.expiry import next_cut
from broker_tokens.policy import (
    FindOut,
    Life,
    RenewSilently,
    Rules,
    Situation,
    TellPerson,
    Wait,
    decide,
)

START, END = ist("2026-11-02 00:00"), ist("2026-12-02 00:00")
MINUTE = timedelta(minutes=1)
NOTHING = timedelta(0)


@dataclass(frozen=True)
class Span:
    """From, until, and by how much the machine's clock is wrong meanwhile."""

    start: datetime
    end: datetime
    wrong_by: timedelta = NOTHING

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end


def spans(dice: random.Random, count: int, longest: timedelta, wrong: bool = False) -> list[Span]:
    found = []
    for _ in range(count):
        start = START + (END - START) * dice.random()
        error = timedelta(seconds=dice.uniform(-30, 30) * 86_400 / dice.choice([1, 24, 1440]))
        found.append(Span(start, start + longest * dice.random(), error if wrong else NOTHING))
    return found


@dataclass
class Month:
    """One run: what happens to the machine, and what the plan makes of it."""

    dice: random.Random
    rules: Rules = field(default_factory=Rules)
    life: timedelta | None = None  # of a token, where it does not end at the cut
    is_silent: bool = True
    outages: list[Span] = field(default_factory=list)
    downs: list[Span] = field(default_factory=list)
    steps: list[Span] = field(default_factory=list)
    situation: Situation = field(default_factory=lambda: Situation(Life.NONE))
    live: list[Span] = field(default_factory=list)
    told: list[tuple[datetime, datetime]] = field(default_factory=list)
    renewals: int = 0
    decisions: int = 0

    def clock(self, true: datetime) -> datetime:
        return true + sum((s.wrong_by for s in self.steps if s.holds(true)), NOTHING)

    def run(self) -> "Month":
        self.situation = replace(self.situation, is_silent=self.is_silent)
        troubles = (*self.outages, *self.downs, *self.steps)
        edges = sorted({at for span in troubles for at in (span.start, span.end)})
        now = START
        while now < END:
            down = next((span for span in self.downs if span.holds(now)), None)
            if down is not None:
                now = down.end
                continue
            now = self.tick(now, next((at for at in edges if at > now), END))
        return self

    def tick(self, now: datetime, next_edge: datetime) -> datetime:
        self.decisions += 1
        local = self.clock(now)
        match decide(local, self.situation, self.rules):
            case Wait(until):
                # A real wait lasts a minute at most; nothing is due before `until` unless the
                # clock is stepped, and then the next look comes within that minute.
                wrong = any(abs(now - s.end) <= MINUTE or s.holds(now) for s in self.steps)
                length = min(until - local, MINUTE) if wrong else until - local
                return min(now + length, max(next_edge, now + timedelta(seconds=1)))
            case RenewSilently():
                self.renew(now, local)
            case TellPerson(due_at=due_at):
                self.told.append((now, due_at))
                self.situation = replace(self.situation, told=due_at)
            case FindOut():
                raise AssertionError("no token of this month is unknown")
        return now + timedelta(milliseconds=200)

    def renew(self, now: datetime, local: datetime) -> None:
        failures = self.situation.failures + 1
        dies = next_cut(now) if self.life is None else min(next_cut(now), now + self.life)
        if any(span.holds(now) for span in self.outages) or dies <= local:
            retry_at = local + retry_delay(failures, self.dice.random())
            self.situation = replace(self.situation, failures=failures, retry_at=retry_at)
            return
        self.renewals += 1
        self.live.append(Span(now, dies))
        self.situation = Situation(Life.KNOWN, dies, self.is_silent, local)

    def uncovered(self, margin: timedelta = LAST_RETRY) -> tuple[int, int]:
        """Return the uncovered session minutes in which a renewal was possible, and all of them.

        It was not while the broker or the machine was down or the clock wrong, nor in the one
        backoff after that.
        """
        excused = [Span(s.start, s.end + margin) for s in (*self.outages, *self.downs, *self.steps)]
        possible = minutes = 0
        session = self.rules.calendar.coming_session(START + timedelta(hours=4))
        while session.closes < END:
            at = session.opens
            around = [s for s in self.live if s.start <= session.closes and s.end >= at]
            while at < session.closes:
                if not any(span.holds(at) for span in around):
                    minutes += 1
                    possible += not any(span.holds(at) for span in excused)
                at += MINUTE
            session = self.rules.calendar.coming_session(session.closes)
        return possible, minutes


def test_a_quiet_month_has_no_uncovered_minute_and_two_renewals_a_day():
    """With a working grant nobody is told anything."""
    month = Month(random.Random(0)).run()

    assert month.uncovered() == (0, 0)
    assert month.told == []
    assert month.renewals == 1 + 2 * 30  # the start, then 02:00 and 03:31
    assert month.decisions < 30 * 12


@pytest.mark.parametrize("seed", range(12))
def test_outages_and_restarts_leave_no_minute_uncovered_that_could_be_covered(seed):
    """Outages of the broker up to 8 h, the machine down up to 60 h, restarts at any time."""
    dice = random.Random(seed)
    month = Month(
        dice,
        outages=spans(dice, 12, timedelta(hours=8)),
        downs=spans(dice, 4, timedelta(hours=60)) + spans(dice, 60, timedelta(seconds=20)),
    ).run()

    possible, _ = month.uncovered()
    assert possible == 0
    repeated = [due_at for due_at, n in Counter(due for _, due in month.told).items() if n > 1]
    assert repeated == []
    for at, _ in month.told:  # only while the broker was away, or in the backoff after it
        assert any(s.start <= at < s.end + LAST_RETRY for s in month.outages)


@pytest.mark.parametrize("seed", range(12))
def test_stepped_clocks_leave_no_minute_uncovered_once_they_are_right_again(seed):
    """Wrong by seconds, hours or a month, forward and back, for up to 20 h."""
    dice = random.Random(1000 + seed)
    month = Month(
        dice,
        outages=spans(dice, 6, timedelta(hours=4)),
        downs=spans(dice, 20, timedelta(minutes=5)),
        steps=spans(dice, 10, timedelta(hours=20), wrong=True),
    ).run()

    possible, _ = month.uncovered()
    assert possible == 0


@pytest.mark.parametrize("minutes", [2, 7, 60, 24 * 60])
def test_a_broker_whose_tokens_live_shorter_is_served_too(minutes):
    """Tokens of any length are replaced before they end, and the person is left alone."""
    month = Month(random.Random(1), life=timedelta(minutes=minutes)).run()

    assert month.uncovered() == (0, 0)
    assert month.told == []
    assert month.renewals <= 30 * (24 * 60 / (minutes / 2) + 3)


@pytest.mark.parametrize("seed", range(5))
def test_a_month_without_a_grant_tells_each_stage_once(seed):
    """Whoever never logs in hears 17 notices a trading day, across any number of restarts."""
    dice = random.Random(seed)
    month = Month(dice, is_silent=False, downs=spans(dice, 300, timedelta(seconds=30))).run()

    by_day = Counter(due_at.date() for _, due_at in month.told)
    assert len({due_at for _, due_at in month.told}) == len(month.told)
    assert len(by_day) == 22
    assert max(by_day.values()) <= 17
    assert all(day.weekday() < 5 for day in by_day)
