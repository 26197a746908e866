"""Ten years of the plan, minute by minute: every minute without a token has a reason on record.

Only `decide` and what it stands on are the product's. The broker, the machine, its clock and the
person are played here, and write down what they do: the record that a minute is judged by.
"""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from broker_tokens.backoff import retry_delay
from broker_tokens.calendar import TradingCalendar
from broker_tokens.clock import IST, ist_date
from broker_tokens.expiry import next_cut
from broker_tokens.model import Approval, Session
from broker_tokens.policy import (
    AskApproval,
    FindOut,
    Life,
    RenewSilently,
    Rules,
    Situation,
    TellPerson,
    Wait,
    decide,
    longest_retry,
)
from proofs.finding import Finding

START = datetime(2026, 1, 1, tzinfo=IST)
MINUTE = timedelta(minutes=1)

# One backoff in the session, and the wake after it: so long after a trouble it may still show.
_AFTERMATH = 2 * MINUTE

# What a tick takes.
_STEP = timedelta(milliseconds=200)

OUTAGE, DOWN, CLOCK, UNTOLD, PERSON = (
    *("the broker was away", "the machine had just come up", "its clock was wrong"),
    *("nobody was told", "the person had not answered yet"),
)


@dataclass(frozen=True)
class Trouble:
    """From when to when something is wrong, and by how much the clock is."""

    kind: str
    start: datetime
    end: datetime
    wrong_by: timedelta = timedelta(0)


@dataclass(frozen=True)
class World:
    """What a run is about; the mean days between two troubles of a kind, none if 0."""

    name: str
    is_silent: bool
    can_ask_phone: bool = False
    outages: float = 15
    downs: float = 3
    steps: float = 40
    refusals: float = 0


WORLDS = (
    World("a grant that works, restarts and suspends", is_silent=True, outages=0, steps=0),
    World("a grant that works, every trouble", is_silent=True),
    World("a grant that is refused at times, every trouble", is_silent=True, refusals=30),
    World("no grant, approval on the phone, every trouble", is_silent=False, can_ask_phone=True),
    World("no grant, a login a day, every trouble", is_silent=False),
)


@dataclass
class Run:
    """One world under way; what is kept over a restart is in `situation` alone."""

    world: World
    days: int
    dice: random.Random
    now: datetime = START
    live_until: datetime = START  # of the token that is stored, by the broker's clock
    refused_from: datetime | None = None
    answer_at: datetime | None = None
    told_on: set[date] = field(default_factory=set)
    minutes: int = 0
    uncovered: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = START + timedelta(days=self.days)
        self.rules = Rules(calendar=TradingCalendar(days=self._odd_days()))
        self.situation = Situation(
            Life.NONE, is_silent=self.world.is_silent, can_ask_phone=self.world.can_ask_phone
        )
        self.troubles = {
            OUTAGE: list(self._spans(OUTAGE, self.world.outages, timedelta(hours=10))),
            DOWN: list(self._spans(DOWN, self.world.downs, timedelta(hours=60))),
            CLOCK: list(self._spans(CLOCK, self.world.steps, timedelta(hours=20))),
        }
        self.refusals = list(self._spans("", self.world.refusals, MINUTE))

    def _odd_days(self) -> dict[date, Session | None]:
        """Return 15 holidays a year, and a Saturday's session."""
        days: dict[date, Session | None] = {}
        for _ in range(self.days * 15 // 365):
            days[ist_date(START) + timedelta(days=self.dice.randrange(self.days))] = None
        for week in range(5, self.days // 7, 50):
            at = datetime.combine(ist_date(START) + timedelta(days=7 * week), time(18), IST)
            saturday = at + timedelta(days=(5 - at.weekday()) % 7)
            days[saturday.date()] = Session(saturday, saturday + timedelta(hours=1))
        return days

    def _spans(self, kind: str, mean_days: float, longest: timedelta) -> Iterator[Trouble]:
        """Yield troubles one after the other; most are short, and every tenth is long."""
        at = START
        while mean_days and at < self.end:
            at += timedelta(days=self.dice.expovariate(1 / mean_days))
            length = longest * self.dice.random() ** 6
            wrong_by = timedelta(days=self.dice.uniform(-30, 30) / self.dice.choice([1, 24, 1440]))
            yield Trouble(kind, at, at + length, wrong_by)
            at += length

    def present(self, kind: str) -> Trouble | None:
        """Return the trouble of a kind that is there, or was a moment ago."""
        spans = self.troubles[kind]
        while spans and spans[0].end + _AFTERMATH < self.now:
            spans.pop(0)
        return spans[0] if spans and spans[0].start <= self.now else None

    def suffers(self, kind: str) -> bool:
        """Whether a trouble of a kind is there now."""
        trouble = self.present(kind)
        return trouble is not None and self.now < trouble.end

    @property
    def local(self) -> datetime:
        """The present by the machine's clock."""
        trouble = self.present(CLOCK)
        is_wrong = trouble is not None and self.now < trouble.end
        return self.now + trouble.wrong_by if trouble is not None and is_wrong else self.now

    def run(self) -> "Run":
        """Live through all minutes."""
        while self.now < self.end:
            minute = self.now
            self._refuse()
            self._answer()
            if not self.suffers(DOWN):
                self._wake(minute + MINUTE)
            self.now = minute
            self._count()
            self.now += MINUTE
        return self

    def _wake(self, until: datetime) -> None:
        """Do what is due in this minute, as the loop does."""
        for _ in range(30):
            match decide(self.local, self.situation, self.rules):
                case Wait(due):
                    self.now += due - self.local
                case RenewSilently():
                    self._renew()
                case AskApproval(due_at=due_at):
                    asked = Approval(self.local, expires_at=next_cut(self.local))
                    self.situation = replace(self.situation, approval=asked, told=due_at)
                    self._tell()
                case TellPerson(due_at=due_at):
                    self.situation = replace(self.situation, told=due_at)
                    self._tell()
                case FindOut():
                    raise AssertionError("no token of this world is unknown")
            self.now += _STEP
            if self.now >= until:
                return
        self.broken.append(f"{self.now}: no end of things to do: {self.situation}")

    def _renew(self) -> None:
        if self.refused_from is not None and not self.suffers(OUTAGE):
            self.situation = replace(self.situation, is_silent=False)
        elif self.suffers(OUTAGE) or next_cut(self.now) <= self.local:
            failures = self.situation.failures + 1
            longest = longest_retry(self.local, self.rules)
            retry_at = self.local + retry_delay(failures, self.dice.random(), longest)
            self.situation = replace(self.situation, failures=failures, retry_at=retry_at)
        else:
            self._store()

    def _store(self) -> None:
        self.live_until = next_cut(self.now)
        self.situation = replace(
            self.situation,
            life=Life.KNOWN,
            expires_at=self.live_until,
            renewed_at=self.local,
            failures=0,
            retry_at=None,
        )

    def _refuse(self) -> None:
        """Let the broker refuse the refresh token from now on, if it is time."""
        while self.refusals and self.refusals[0].start <= self.now:
            self.refusals.pop(0)
            self.refused_from = self.refused_from or self.now

    def _tell(self) -> None:
        """The person hears of it, and may answer: soon, late, or not today."""
        self.told_on.add(ist_date(self.now))
        if self.answer_at is None and self.dice.random() < 0.9:
            minutes = self.dice.lognormvariate(2.5, 1.2)
            self.answer_at = self.now + timedelta(minutes=minutes)

    def _answer(self) -> None:
        """A login, once machine and broker can take one; it brings a new refresh token."""
        if self.answer_at is None or self.now < self.answer_at:
            return
        if any(self.suffers(kind) for kind in (OUTAGE, DOWN, CLOCK)):
            return
        self.answer_at = self.refused_from = None
        self.situation = replace(self.situation, is_silent=self.world.is_silent)
        self._store()

    def _count(self) -> None:
        """Judge this minute, if strategies trade in it on this machine."""
        session = self.rules.calendar.session_on(ist_date(self.now))
        if session is None or not session.opens <= self.now < session.closes:
            return
        if self.suffers(DOWN):
            return
        self.minutes += 1
        if self.now >= self.live_until:
            reason = self._reason(session)
            self.uncovered[reason or UNTOLD] += 1
            if reason is None:
                self.broken.append(f"{self.now}: no token, {self.situation}")

    def _reason(self, session: Session) -> str | None:
        """Return what the record says of a minute without a token; None if nothing."""
        for kind in (DOWN, OUTAGE, CLOCK):
            if self.present(kind) is not None:
                return kind
        works = self.world.is_silent and self.refused_from is None
        return None if works or ist_date(session.opens) not in self.told_on else PERSON


def years(days: int) -> Finding:
    """Live through so many days in each world."""
    finding = Finding()
    with ProcessPoolExecutor() as pool:
        runs = list(pool.map(_run, WORLDS, [days] * len(WORLDS)))
    for run in runs:
        finding.broken += [f"{run.world.name}: {broken}" for broken in run.broken]
    minutes = sum(run.minutes for run in runs)
    finding.tried = f"{len(WORLDS)} worlds of {days:,} days, {minutes:,} minutes of trading"
    finding.survived = "; ".join(_words(run) for run in runs)
    return finding


def _run(world: World, days: int) -> Run:
    return Run(world, days, random.Random(world.name)).run()


def _words(run: Run) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(run.uncovered.items()))
    return f"{run.world.name}: {run.minutes:,} minutes, without a token {reasons or 'none'}"
