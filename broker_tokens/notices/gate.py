"""Which notices get through: each once a day, seven in all, and always room for what counts."""

from collections.abc import Mapping
from datetime import datetime

from broker_tokens.clock import ist_date
from broker_tokens.notices.words import Kind, Notice

# So many may have gone out on the day for one more of this kind: the alarm and the good news find
# a place on the worst day.
_ROOM = {Kind.REMINDER: 5, Kind.NEW_TOKEN: 7}
_ROOM_FOR_OTHERS = 6


def admit(
    notice: Notice, noticed: Mapping[str, datetime], now: datetime
) -> dict[str, datetime] | None:
    """Return what has been noticed with this notice added, or None if it is not to be sent.

    Entries of other days, and of later than `now` (a clock that was set back), say nothing.
    """
    today = {key: at for key, at in noticed.items() if ist_date(at) == ist_date(now) and at <= now}
    if notice.key in today or len(today) >= _ROOM.get(notice.kind, _ROOM_FOR_OTHERS):
        return None
    if notice.is_silent_news and not today:
        return None
    return {**today, notice.key: now}
