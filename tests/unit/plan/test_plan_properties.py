"""What holds for the plan at any time, in any situation, under any rules."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from unit.plan.moments import all_rules, instants, many, moments

from broker_tokens.backoff import retry_delay
from broker_tokens.clock import IST
from broker_tokens.expiry import next_cut
from broker_tokens.model import Approval
from broker_tokens.policy import (
    AskApproval,
    FindOut,
    Life,
    RenewSilently,
    Situation,
    TellPerson,
    Wait,
    decide,
    person_is_needed,
)


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
