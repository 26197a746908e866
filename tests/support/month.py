"""A month with a person in it: the real service, listener and notices on the simulator's clock.

November 2026 has Muhurat on a Sunday, two holidays and a special Saturday. The person answers after
a random while, by phone or by link, or never; the service is started anew at random times.
"""

import random
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path

import requests
from support.house import HandClock, ist

from broker_tokens.announcer import Announcer
from broker_tokens.app import build_service
from broker_tokens.clock import ist_date
from broker_tokens.listener import listening
from broker_tokens.model import ApprovalAsked, Event, PersonNeeded, TokenStored
from broker_tokens.notices.courier import Courier
from broker_tokens.notices.notifier import Notifier
from broker_tokens.place import Place
from broker_tokens.settings import load_settings
from broker_tokens.simulator.broker import Endpoint, SimulatedUpstox
from broker_tokens.simulator.market import Holiday, OpenHours
from broker_tokens.simulator.server import SimulatorServer
from broker_tokens.store import TokenStore
from upstox_token_manager import UpstoxTokenManager

START, END = ist("2026-11-02 00:00"), ist("2026-12-01 00:00")
LIMIT = 20

MUHURAT = date(2026, 11, 8)  # a Sunday
SATURDAY = date(2026, 11, 21)
HOLIDAYS = (
    Holiday(
        MUHURAT,
        "Diwali Laxmi Pujan",
        "SPECIAL_TIMING",
        (),
        (OpenHours("NSE", time(18, 0), time(19, 15)),),
    ),
    Holiday(date(2026, 11, 10), "Diwali Balipratipada"),
    Holiday(date(2026, 11, 24), "Guru Nanak Jayanti"),
    Holiday(
        SATURDAY,
        "Special session",
        "SPECIAL_TIMING",
        (),
        (OpenHours("NSE", time(9, 15), time(12, 30)),),
    ),
)
CLOSED = {each.day for each in HOLIDAYS if each.closed_exchanges}
SPECIAL = {MUHURAT: "17:45", SATURDAY: "09:00"}


@dataclass
class Day:
    """What happened on one trading day."""

    opens: datetime
    answered_at: datetime | None = None
    stored_at: datetime | None = None
    is_live_at_close: bool = False
    notices: int = 0
    requests: int = 0


@dataclass
class Record:
    """What a month came to; `elsewhere` counts notices and requests on closed days."""

    days: dict[date, Day] = field(default_factory=dict)
    elsewhere: Counter = field(default_factory=Counter)
    restarts: int = 0

    def row(self) -> str:
        """Return the month as one line."""
        answered = [day for day in self.days.values() if day.answered_at]
        late = [max(d.answered_at - d.opens, timedelta(0)) for d in answered]
        return (
            f"{len(self.days)} trading days, {len(answered)} answered, {self.restarts} restarts;"
            f" requests a day: {max(d.requests for d in self.days.values())} at most;"
            f" notices a day: {max(d.notices for d in self.days.values())} at most;"
            f" on closed days: {self.elsewhere.total()};"
            f" minutes late by the person: {sum(late, timedelta(0)) // timedelta(minutes=1)};"
            " minutes from answer to token:"
            f" {sum((d.stored_at - d.answered_at for d in answered), timedelta(0)).seconds // 60}"
        )


def trading_days() -> dict[date, Day]:
    """Return the month's trading days, by the exchange's own list."""
    days = {}
    for number in range((END - START).days):
        day = ist_date(START) + timedelta(days=number)
        if day in SPECIAL:
            days[day] = Day(ist(f"{day} {SPECIAL[day]}"))
        elif day.weekday() < 5 and day not in CLOSED:
            days[day] = Day(ist(f"{day} 09:00"))
    return days


class Month:
    """One trader's month; `run` lives through it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._clock = HandClock(START)
        self._folder = folder
        self._env_file = folder / ".env"
        self._env_file.write_text(
            "UPSTOX_CLIENT_ID=sim-client\nUPSTOX_CLIENT_SECRET=sim-secret\naccess_token=\n"
            "UPSTOX_USER_ID=SIM001\n"
            f"UPSTOX_NOTIFY_COMMAND=sh -c 'echo x >> {folder}/notices'\n",
            encoding="utf-8",
        )
        self._stored = threading.Event()
        self._link = ""
        self._act_at: datetime | None = None
        self._asked_on: date | None = None
        self._courier = Courier()
        self.record = Record(trading_days())

    def run(self) -> Record:
        """Live through the month and return its record."""
        announcer = self._announcer()
        with ExitStack() as stack:
            place = stack.enter_context(
                listening(
                    str(self._env_file),
                    Place("127.0.0.1", 0),
                    announcer,
                    lambda: None,
                    environ={},
                    clock=self._clock,
                )
            )
            redirect = f"http://{place}/callback"
            self._broker = SimulatedUpstox(self._clock, redirect_uri=redirect, holidays=HOLIDAYS)
            server = stack.enter_context(SimulatorServer(self._broker))
            text = self._env_file.read_text(encoding="utf-8")
            secret = text.partition("UPSTOX_NOTIFIER_SECRET=")[2].split()[0]
            self._broker.notifier_url = f"http://{place}/notifier/{secret}"
            addresses = f"UPSTOX_API_URL={server.url}\nUPSTOX_REDIRECT_URI={redirect}\n"
            self._env_file.write_text(text + addresses, encoding="utf-8")
            self._live(announcer)
        self._count_requests()
        return self.record

    def _live(self, announcer: Announcer) -> None:
        manager = UpstoxTokenManager(self._env_file, environ={}, clock=self._clock)
        service = self._service(announcer)
        while self._clock.now < END:
            if self._dice.random() < 0.1:
                service = self._service(announcer)
                self.record.restarts += 1
            now = self._clock.now
            due = service.tick().next_due
            if self._act_at is not None and self._act_at <= now:
                self._answer()
                continue
            after = [due, now + timedelta(hours=6), self._midnight(now)]
            self._clock.now = max(
                now + timedelta(seconds=1), min(filter(None, [self._act_at, *after]))
            )
            self._end_of_day(now, manager)

    def _service(self, announcer: Announcer):
        return build_service(
            str(self._env_file),
            environ={},
            clock=self._clock,
            announcer=announcer,
            is_listening=True,
        )

    def _announcer(self) -> Announcer:
        store = TokenStore(str(self._env_file))
        notifier = Notifier(
            store,
            lambda: load_settings(store.load().values, {}),
            self._courier,
            {"PATH": "/usr/bin:/bin"},
        )
        return Announcer([self._hear, notifier])

    def _hear(self, event: Event) -> None:
        match event:
            case TokenStored():
                self._stored.set()
                self._act_at = None
                day = self.record.days.get(ist_date(event.at))
                if day is not None:
                    day.stored_at = event.at
            case ApprovalAsked() | PersonNeeded():
                self._link = event.login_url
                if self._asked_on != ist_date(event.at):
                    self._asked_on = ist_date(event.at)
                    self._act_at = self._when(event.at)

    def _when(self, asked_at: datetime) -> datetime | None:
        """Return when the person answers: after 2 minutes at least, on one day in six never."""
        if self._dice.random() < 1 / 6:
            return None
        at = asked_at + timedelta(minutes=2 + self._dice.expovariate(1 / 40))
        return at if ist_date(at) == ist_date(asked_at) else None

    def _answer(self) -> None:
        """Approve on the phone, or open the link of the last notice; twice now and then."""
        self._act_at = None
        self._stored.clear()
        day = self.record.days.get(ist_date(self._clock.now))
        if day is not None and day.answered_at is None:
            day.answered_at = self._clock.now
        if self._broker.pending_approval is not None and self._dice.random() < 0.7:
            self._broker.approve(copies=self._dice.choice([1, 1, 2]))
        else:
            requests.get(self._link, timeout=LIMIT)
        assert self._stored.wait(LIMIT), "the answer did not arrive"

    def _end_of_day(self, before: datetime, manager: UpstoxTokenManager) -> None:
        """At midnight, count the day's notices and see whether its token still lives."""
        if ist_date(before) == ist_date(self._clock.now):
            return
        assert self._courier.drain(timedelta(seconds=LIMIT))
        notices = self._folder / "notices"
        count = len(notices.read_text().splitlines()) if notices.exists() else 0
        notices.unlink(missing_ok=True)
        day = self.record.days.get(ist_date(before))
        if day is None:
            self.record.elsewhere["notices"] += count
            return
        day.notices = count
        if day.answered_at is not None:
            day.is_live_at_close = self._broker.is_live(manager.get_current_token())

    def _count_requests(self) -> None:
        for each in self._broker.requests:
            if each.endpoint is Endpoint.APPROVAL:
                day = self.record.days.get(ist_date(each.at))
                if day is None:
                    self.record.elsewhere["requests"] += 1
                else:
                    day.requests += 1

    @staticmethod
    def _midnight(now: datetime) -> datetime:
        return datetime.combine(ist_date(now) + timedelta(days=1), time(0), now.tzinfo)
