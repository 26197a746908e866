"""Which days are trading days, and when a session opens and closes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

from dateutil.relativedelta import relativedelta

from broker_tokens.clock import IST, ist_date
from broker_tokens.model import Session

_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class SessionHours:
    """The hours, in IST, in which strategies need a token."""

    opens: time = time(9, 0)
    closes: time = time(15, 30)


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """The week, Monday to Friday at the same hours, and the days that depart from it.

    `days` are those the broker told of: closed (None), or open at hours of their own. Where it told
    nothing, a weekday counts as a trading day: one notice too many harms less than none.
    """

    hours: SessionHours = field(default_factory=SessionHours)
    days: Mapping[date, Session | None] = field(default_factory=dict)

    def session_on(self, day: date) -> Session | None:
        """Return the session of an IST date, None if the market is closed."""
        if day in self.days:
            return self.days[day]
        if day.weekday() >= _SATURDAY:
            return None
        return Session(
            opens=datetime.combine(day, self.hours.opens, IST),
            closes=datetime.combine(day, self.hours.closes, IST),
        )

    def coming_session(self, now: datetime) -> Session:
        """Return the session that is open at `now` (aware), else the next one to open."""
        day = ist_date(now)
        while True:
            session = self.session_on(day)
            if session is not None and session.closes > now:
                return session
            day += relativedelta(days=1)
