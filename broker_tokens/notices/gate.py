"""Which notices get through: each once a day, seven in all, and always room for what counts.

That the service itself has failed does not count among the seven: the worse the morning, the more
it matters.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from broker_tokens.clock import ist_date
from broker_tokens.notices.words import UNIT_KEY, Kind, Notice

_MOST = 7
_MOST_OF_UNITS = 3

# Notices come a little out of order where two threads have news; an entry farther ahead was saved
# under a clock that has been set back since.
_DISORDER = timedelta(minutes=10)


def admit(
    notice: Notice, noticed: Mapping[str, datetime], now: datetime
) -> dict[str, datetime] | None:
    """Return what has been noticed with this notice added, or None if it is not to be sent.

    Entries of other days, and of later than `now`, say nothing.
    """
    today = {
        key: at
        for key, at in noticed.items()
        if ist_date(at) == ist_date(now) and at <= now + _DISORDER
    }
    others = {key: at for key, at in today.items() if _is_of_unit(key) is _is_of_unit(notice.key)}
    if notice.key in today or len(others) >= _room(notice, others):
        return None
    if notice.is_silent_news and not others:
        return None
    return {**today, notice.key: now}


def _is_of_unit(key: str) -> bool:
    return key.startswith(UNIT_KEY)


def _room(notice: Notice, today: Mapping[str, datetime]) -> int:
    """Return how many may have gone out before: the alarm has its place, and the first good news.

    The alarm's is kept until it is out.
    """
    if notice.kind is Kind.UNIT_FAILED:
        return _MOST_OF_UNITS
    is_alarm_out = any(key.startswith("alarm-") for key in today)
    is_news_out = any(key.startswith("token-") for key in today)
    if notice.kind is Kind.ALARM and not is_alarm_out:
        return _MOST
    left = _MOST if is_alarm_out else _MOST - 1
    return left if notice.kind is Kind.NEW_TOKEN and not is_news_out else left - 1
