"""Any time, any situation that files can describe, any rules: drawn by hypothesis."""

from datetime import date, datetime, time, timedelta

from hypothesis import settings as budget
from hypothesis import strategies as st
from support.house import ist

from broker_tokens.calendar import SessionHours, TradingCalendar
from broker_tokens.clock import IST
from broker_tokens.expiry import next_cut
from broker_tokens.model import Approval, Session
from broker_tokens.policy import Life, Rules, Situation

many = budget(max_examples=150, deadline=None, derandomize=True, database=None)

seconds = st.integers(0, 14 * 86_400)
clock_times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
after_the_cut = clock_times.filter(lambda at: at > time(3, 30))
session_hours = st.one_of(
    st.just(SessionHours()),
    st.just(SessionHours(time(9, 0), time(23, 55))),
    st.tuples(after_the_cut, after_the_cut)
    .map(sorted)
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: SessionHours(*pair)),
)
special_days = st.dictionaries(
    st.dates(date(2026, 11, 16), date(2026, 11, 30)),
    st.one_of(st.none(), session_hours),
    max_size=8,
).map(
    lambda days: {
        day: hours
        and Session(
            datetime.combine(day, hours.opens, IST), datetime.combine(day, hours.closes, IST)
        )
        for day, hours in days.items()
    }
)
all_rules = st.builds(
    Rules,
    refresh_time=clock_times,
    approval_time=after_the_cut,
    calendar=st.builds(TradingCalendar, session_hours, special_days),
)
edges = st.sampled_from(["02:00", "03:29:59", "03:30", "03:30:30", "03:31", "08:00", "09:00"])
instants = st.one_of(
    seconds.map(lambda s: ist("2026-11-16 00:00") + timedelta(seconds=s)),
    st.builds(
        lambda day, at, us: ist(f"2026-11-{day} {at}") + timedelta(microseconds=us),
        st.integers(16, 29),
        edges,
        st.sampled_from([-1, 0, 1]),
    ),
)
lengths = st.one_of(
    st.timedeltas(timedelta(seconds=-2), timedelta(seconds=2)),
    st.timedeltas(timedelta(hours=-2), timedelta(hours=2)),
    st.timedeltas(timedelta(days=-3), timedelta(days=3)),
    st.timedeltas(timedelta(days=300), timedelta(days=1500)),
)


def approvals(now):
    """Draw a request for approval at any time around `now`: open, refused or to be tried again."""
    return st.builds(
        Approval,
        asked_at=lengths.map(lambda length: now - length),
        refusal=st.sampled_from(["", "under review"]),
        retry_at=st.none() | lengths.map(lambda length: now + length),
    )


@st.composite
def moments(draw):
    """Draw a time and a situation such as the files can describe at that time."""
    now = draw(instants)
    life = draw(st.sampled_from(Life))
    expires_at = None
    if life is Life.KNOWN:
        at_a_cut = draw(st.booleans())
        expires_at = next_cut(now + draw(lengths)) if at_a_cut else now + draw(lengths)
    failures = draw(st.sampled_from([0, 0, 1, 2, 9]))
    situation = Situation(
        life=life,
        expires_at=expires_at,
        is_silent=draw(st.booleans()),
        renewed_at=draw(st.none() | lengths.map(lambda length: now - length)),
        failures=failures,
        retry_at=now + draw(lengths) if failures else None,
        told=draw(st.none() | lengths.map(lambda length: now + length)),
        can_ask_phone=draw(st.booleans()),
        approval=draw(st.none() | approvals(now)),
    )
    return now, situation
