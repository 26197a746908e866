"""The one module that asks the machine for the time, and the arithmetic of Indian clock time.

IST has had no daylight saving since 1945, so a fixed +05:30 is exact and needs no zone database,
which Windows and slim containers lack. All instants are aware; the host's own zone is never used.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30), "IST")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


def ist_date(instant: datetime) -> date:
    """Return the date that an instant (aware) has in India."""
    return instant.astimezone(IST).date()


def next_occurrence(after: datetime, at: time) -> datetime:
    """Return the first instant strictly after `after` (aware) whose IST clock reads `at`."""
    local = after.astimezone(IST)
    candidate = datetime.combine(local.date(), at, IST)
    return candidate if candidate > local else candidate + timedelta(days=1)


def last_occurrence(before: datetime, at: time) -> datetime:
    """Return the latest instant not after `before` (aware) whose IST clock reads `at`."""
    return next_occurrence(before, at) - timedelta(days=1)


def format_ist(instant: datetime) -> str:
    """Return an instant as people in India read it: `Fri 20 Nov 2026 03:30 IST`."""
    return instant.astimezone(IST).strftime("%a %d %b %Y %H:%M IST")


def format_duration(length: timedelta) -> str:
    """Return a length of time in words: `7 h 12 min`, `45 s`, `2 days 3 h`."""
    seconds = max(0, int(length.total_seconds()))
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    if days:
        return f"{days} days {hours} h" if days > 1 else f"1 day {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
