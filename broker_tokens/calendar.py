"""Which days are trading days, and when a session opens and closes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time

from dateutil.relativedelta import relativedelta

from broker_tokens.clock import IST

_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class SessionHours:
    """The hours, in IST, in which strategies need a token."""

    opens: time = time(9, 0)
    closes: time = time(15, 30)


@dataclass(frozen=True, slots=True)
class Session:
    """One day's session as two aware instants."""

    opens: datetime
    closes: datetime


def is_trading_day(day: date) -> bool:
    """Whether the markets open on this IST date, as far as the week tells: Monday to Friday."""
    return day.weekday() < _SATURDAY


def session_on(day: date, hours: SessionHours) -> Session:
    """Return the session of an IST date."""
    return Session(
        opens=datetime.combine(day, hours.opens, IST),
        closes=datetime.combine(day, hours.closes, IST),
    )


def coming_session(
    now: datetime,
    hours: SessionHours,
    trades_on: Callable[[date], bool] = is_trading_day,
) -> Session:
    """Return the session that is open at `now` (aware), else the next one to open."""
    day = now.astimezone(IST).date()
    while not trades_on(day) or session_on(day, hours).closes <= now:
        day += relativedelta(days=1)
    return session_on(day, hours)
