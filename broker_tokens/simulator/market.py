"""The market's calendar: holidays, special sessions and the timings of a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from broker_tokens.clock import IST
from broker_tokens.simulator.wire import RefusalError, Response, json_response

HOLIDAYS_PATH = "/v2/market/holidays"
TIMINGS_PATH = "/v2/market/timings/"

_USUAL = {
    "NSE": (time(9, 15), time(15, 30)),
    "NFO": (time(9, 15), time(15, 30)),
    "BSE": (time(9, 15), time(15, 30)),
    "MCX": (time(9, 0), time(23, 30)),
}
_SATURDAY = 5


@dataclass(frozen=True)
class OpenHours:
    """An exchange that is open on a special day, at these IST hours."""

    exchange: str
    opens: time
    closes: time


@dataclass(frozen=True)
class Holiday:
    """A day of the holiday list (Upstox docs, Market Holidays)."""

    day: date
    description: str = "Holiday"
    holiday_type: str = "TRADING_HOLIDAY"
    closed_exchanges: Sequence[str] = ("NSE", "NFO", "BSE")
    open_exchanges: Sequence[OpenHours] = ()


def holidays_reply(path: str, holidays: Sequence[Holiday]) -> Response:
    """Return the whole list, or one date's entry."""
    wanted = path.removeprefix(HOLIDAYS_PATH).strip("/")
    day = _date(wanted) if wanted else None
    data = [_holiday_json(each) for each in holidays if day in (None, each.day)]
    return json_response({"status": "success", "data": data})


def timings_reply(path: str, holidays: Sequence[Holiday]) -> Response:
    """Return the hours of one date; none where every exchange is closed."""
    day = _date(path.removeprefix(TIMINGS_PATH))
    hours = [] if day.weekday() >= _SATURDAY else [OpenHours(k, *v) for k, v in _USUAL.items()]
    for holiday in holidays:
        if holiday.day == day:
            gone = {*holiday.closed_exchanges, *(each.exchange for each in holiday.open_exchanges)}
            hours = [each for each in hours if each.exchange not in gone]
            hours += holiday.open_exchanges
    return json_response({"status": "success", "data": [_hours_json(day, each) for each in hours]})


def _holiday_json(holiday: Holiday) -> dict[str, object]:
    return {
        "date": holiday.day.isoformat(),
        "description": holiday.description,
        "holiday_type": holiday.holiday_type,
        "closed_exchanges": list(holiday.closed_exchanges),
        "open_exchanges": [_hours_json(holiday.day, each) for each in holiday.open_exchanges],
    }


def _hours_json(day: date, hours: OpenHours) -> dict[str, object]:
    return {
        "exchange": hours.exchange,
        "start_time": _milliseconds(day, hours.opens),
        "end_time": _milliseconds(day, hours.closes),
    }


def _milliseconds(day: date, at: time) -> int:
    return int(datetime.combine(day, at, IST).timestamp()) * 1000


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RefusalError("UDAPI100036", "date") from None
