"""What Upstox's holidays and timings say of one exchange (Upstox docs, Market Information).

A day that the lists do not tell of is as the week has it. Nothing here raises: what cannot be read
is left out, so a weekday counts as a trading day.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta

from broker_tokens.brokers.upstox_fields import instant_in
from broker_tokens.clock import IST, ist_date
from broker_tokens.model import Session

# Upstox tells when trading starts; strategies want the token 15 minutes before, at the pre-open, as
# the usual session is counted from 09:00 for the NSE's 09:15.
PRE_OPEN = timedelta(minutes=15)

# The list holds one calendar year; the rest is for the next one, announced in December.
_FARTHEST = timedelta(days=400)

# An exchange has about 20 holidays a year, and all of this goes into the state file.
_MOST_DAYS = 100

# Upstox lists special sessions on a weekend, if at all, a few days ahead.
_WEEKENDS_AHEAD = 8
_SATURDAY = 5

Days = dict[date, Session | None]


def days_of_holidays(entries: list[object], exchange: str, today: date) -> Days:
    """Return the days on which `exchange` is closed (None) or open at hours of their own."""
    days: Days = {}
    for entry in _objects(entries):
        day = _day_in(entry.get("date"))
        if day is not None and today <= day <= today + _FARTHEST:
            _note(days, day, entry, exchange)
    return days


def nearest(days: Days) -> Days:
    """Return the days in their order, the farthest left out if there are too many."""
    return dict(sorted(days.items())[:_MOST_DAYS])


def session_of_timings(entries: object, exchange: str, day: date) -> Session | None:
    """Return the session that `exchange` has on a day by its timings, None if there is none."""
    session: Session | None = None
    for entry in _objects(entries):
        if entry.get("exchange") == exchange:
            session = _span(session, _session_in(entry, day))
    return session


def weekdays_of(known: Mapping[date, Session | None], today: date) -> Days:
    """Return those of the days to come that are no Saturday or Sunday."""
    return {
        day: session for day, session in known.items() if day >= today and day.weekday() < _SATURDAY
    }


def weekend_days(today: date) -> Iterator[date]:
    """Yield the Saturdays and Sundays of the days to come, today included."""
    for ahead in range(_WEEKENDS_AHEAD):
        day = today + timedelta(days=ahead)
        if day.weekday() >= _SATURDAY:
            yield day


def _note(days: Days, day: date, entry: dict[str, object], exchange: str) -> None:
    """Add what one entry says; an open hour outweighs a closed day, as a notice outweighs none."""
    if entry.get("holiday_type") == "SETTLEMENT_HOLIDAY":
        return  # the banks' holiday, not the exchange's
    session = session_of_timings(entry.get("open_exchanges"), exchange, day)
    if session is not None:
        days[day] = _span(days.get(day), session)
    elif entry.get("holiday_type") == "TRADING_HOLIDAY" and _is_closed(entry, exchange):
        days.setdefault(day, None)


def _is_closed(entry: dict[str, object], exchange: str) -> bool:
    closed = entry.get("closed_exchanges")
    open_ones = [each.get("exchange") for each in _objects(entry.get("open_exchanges"))]
    return isinstance(closed, list) and exchange in closed and exchange not in open_ones


def _session_in(entry: dict[str, object], day: date) -> Session | None:
    start, end = instant_in(entry.get("start_time")), instant_in(entry.get("end_time"))
    if start is None or end is None or end <= start:
        return None
    opens = (start - PRE_OPEN).astimezone(IST)
    closes = end.astimezone(IST)
    return Session(opens, closes) if opens.date() == day == closes.date() else None


def _span(one: Session | None, other: Session | None) -> Session | None:
    """Return a session over both: a token is needed from the first opening to the last close."""
    if one is None or other is None:
        return one or other
    return Session(min(one.opens, other.opens), max(one.closes, other.closes))


def _objects(entries: object) -> Iterable[dict[str, object]]:
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _day_in(value: object) -> date | None:
    """Return the IST date that a text names, with or without a time behind it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            return moment.date() if moment else None
        return ist_date(moment)
    except (ValueError, OverflowError):
        return None
