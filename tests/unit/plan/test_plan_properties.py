"""What holds for the plan at any time, in any situation, under any rules."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta

from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from support.house import ist

from broker_tokens.calendar import SessionHours, TradingCalendar
from broker_tokens.clock import IST
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
    person_is_needed,
    retry_delay,
)

many = budget(max_examples=400, deadline=None, derandomize=True, database=None)

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


@many
@given(moments(), all_rules)
def test_a_wait_always_lies_ahead(moment, rules):
    """The plan answers at any time, and a loop that follows it can never stand still."""
    now, situation = moment

    decision = decide(now, situation, rules)

    if isinstance(decision, Wait):
        assert decision.until > now
    if isinstance(decision, TellPerson | AskApproval):
        assert decision.due_at <= now < decision.session.closes


@many
@given(moments(), all_rules, st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=5))
def test_nothing_becomes_due_before_a_wait_ends(moment, rules, fractions):
    """Whoever sleeps to the end of a wait misses nothing."""
    now, situation = moment
    decision = decide(now, situation, rules)
    if not isinstance(decision, Wait):
        return
    length = decision.until - now
    just_before = decision.until - timedelta(microseconds=1)
    samples = [now + length * part for part in (*fractions, *(n / 12 for n in range(12)))]

    for at in [*samples, just_before]:
        if now < at < decision.until:
            assert isinstance(decide(at, situation, rules), Wait), at


@many
@given(moments(), all_rules)
def test_what_was_told_is_not_told_again(moment, rules):
    """Noting a stage as told ends that stage."""
    now, situation = moment
    decision = decide(now, situation, rules)

    if isinstance(decision, TellPerson):
        after = decide(now, replace(situation, told=decision.due_at), rules)
        assert isinstance(after, Wait)


@budget(max_examples=150, deadline=None, derandomize=True, database=None)
@given(instants, all_rules, st.timedeltas(timedelta(seconds=1), timedelta(minutes=20)))
def test_tokens_of_any_life_are_renewed_at_a_walking_pace(start, rules, life):
    """Even one second's life brings two renewals a minute at most, and disturbs nobody."""
    now, renewed_at, renewals = start, start, 0
    while now < start + timedelta(minutes=15):
        situation = Situation(Life.KNOWN, renewed_at + life, True, renewed_at)
        decision = decide(now, situation, rules)
        assert isinstance(decision, Wait | RenewSilently)
        if isinstance(decision, RenewSilently):
            renewals += 1
            renewed_at = now
        else:
            now = decision.until

    assert renewals <= 15 * 2 + 2  # and the nightly run, and the cut
    if life >= timedelta(minutes=1) and next_cut(start) > now:
        assert renewals >= timedelta(minutes=15) // life - 1


@many
@given(moments(), all_rules, st.integers(1, 30), st.floats(0, 0.999))
def test_a_failure_is_followed_by_its_backoff(moment, rules, failures, jitter):
    """The broker is left alone until the retry; the person may be asked and told once."""
    now, situation = moment
    if not isinstance(decide(now, situation, rules), RenewSilently | FindOut):
        return
    retry_at = now + retry_delay(failures, jitter)
    failed = replace(situation, failures=failures, retry_at=retry_at)

    after = decide(now, failed, rules)
    if isinstance(after, AskApproval):
        failed = replace(failed, approval=Approval(now))
        after = decide(now, failed, rules)
    if isinstance(after, TellPerson):
        after = decide(now, replace(failed, told=after.due_at), rules)

    assert isinstance(after, Wait)
    assert after.until <= max(retry_at, next_cut(now) + timedelta(minutes=1))


@many
@given(moments(), all_rules)
def test_the_broker_is_asked_nothing_in_the_minute_after_the_cut(moment, rules):
    """What its clock calls the day is uncertain then."""
    now, situation = moment
    local = now.astimezone(IST)

    if (local.hour, local.minute) == (3, 30):
        assert not isinstance(decide(now, situation, rules), RenewSilently | FindOut)


@many
@given(moments(), all_rules)
def test_a_covered_session_needs_no_person(moment, rules):
    """Whoever has a token to the end of the day is left alone; so is a closed market."""
    now, situation = moment
    day = now.astimezone(IST).date()
    covered = replace(situation, life=Life.KNOWN, expires_at=now + timedelta(days=2))

    assert not person_is_needed(now, covered, rules)
    if rules.calendar.session_on(day) is None:
        assert not person_is_needed(now, situation, rules)


@budget(max_examples=60, deadline=None, derandomize=True, database=None)
@given(instants, all_rules, st.booleans(), st.integers(0, 2**32))
def test_a_person_who_never_answers_is_told_each_stage_once(start, rules, has_phone, seed):
    """Restarted at will, it asks the phone once a day, and on closed days nobody."""
    situation = Situation(Life.NONE, can_ask_phone=has_phone)
    stages, requests, now, steps = [], [], start, 0
    while now < start + timedelta(days=2):
        steps += 1
        decision = decide(now, situation, rules)
        if isinstance(decision, AskApproval):
            situation = replace(situation, told=decision.due_at, approval=Approval(now))
            requests.append(now)
        elif isinstance(decision, TellPerson):
            situation = replace(situation, told=decision.due_at)
        elif isinstance(decision, Wait):
            # Sometimes somebody starts it again before the wait is over.
            early = timedelta(seconds=(seed * steps) % 5000)
            now = min(decision.until, now + early) if early and steps % 2 else decision.until
            continue
        stages.append(decision.due_at)

    assert len(stages) == len(set(stages))
    assert len({next_cut(at) for at in requests}) == len(requests) <= 3 * has_phone
    for at in stages:
        session = rules.calendar.session_on(at.astimezone(IST).date())
        assert session is not None
        reminders = -(-(session.closes - session.opens) // timedelta(minutes=30))
        assert len([other for other in stages if other.date() == at.date()]) <= 5 + reminders
