"""What holds for approval on the phone at any time, in any situation, under any rules."""

from dataclasses import replace
from datetime import time, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from support.house import ist
from unit.plan.moments import all_rules, instants, many, moments

from broker_tokens.backoff import retry_delay
from broker_tokens.calendar import SessionHours, TradingCalendar
from broker_tokens.clock import ist_date, last_occurrence
from broker_tokens.expiry import CUT, is_same_day, next_cut
from broker_tokens.model import Approval
from broker_tokens.policy import (
    GRACE_AFTER_CUT,
    AskApproval,
    FindOut,
    Life,
    RenewSilently,
    Rules,
    Situation,
    TellPerson,
    Wait,
    decide,
)

thorough = budget(max_examples=150, deadline=None, derandomize=True, database=None)
outcomes = st.sampled_from(["taken", "lost", "refused", "failed"])


def after_asking(situation: Situation, decision: AskApproval, now, outcome: str) -> Situation:
    """Return the situation that a request leaves behind, as the service notes it."""
    if outcome == "failed":
        earlier = situation.approval
        tries = earlier.tries + 1 if earlier and is_same_day(earlier.asked_at, now) else 1
        asked = Approval(now, retry_at=now + retry_delay(tries, 0.5), tries=tries)
        return replace(situation, approval=asked)
    if outcome == "refused":
        return replace(situation, approval=Approval(now, refusal="under review"))
    expires_at = next_cut(now) if outcome == "taken" else None
    return replace(situation, approval=Approval(now, expires_at), told=decision.due_at)


@thorough
@given(moments(), all_rules)
def test_the_phone_is_asked_only_when_all_is_as_it_should_be(moment, rules):
    """On a trading day, not covered, from the hour on, after 03:31, not asked yet, and heard."""
    now, situation = moment
    decision = decide(now, situation, rules)
    if not isinstance(decision, AskApproval):
        return
    session = rules.calendar.session_on(ist_date(now))
    asked = situation.approval

    assert session is not None
    assert decision.session == session
    assert decision.due_at <= now < session.closes
    assert not situation.covers(session)
    assert situation.can_ask_phone
    assert now >= last_occurrence(now, CUT) + GRACE_AFTER_CUT
    if asked is not None and is_same_day(asked.asked_at, now):
        assert asked.retry_at is not None
        assert not now < asked.retry_at <= now + timedelta(hours=1)


@many
@given(moments(), all_rules, st.sampled_from(["taken", "lost", "refused"]), st.data())
def test_one_request_a_day_whatever_becomes_of_it(moment, rules, outcome, data):
    """Once noted, no later moment of the broker's day asks again."""
    now, situation = moment
    decision = decide(now, situation, rules)
    if not isinstance(decision, AskApproval):
        return
    noted = after_asking(situation, decision, now, outcome)

    left = (next_cut(now) - now) / timedelta(microseconds=1)
    for part in data.draw(st.lists(st.integers(0, int(left) - 1), min_size=8, max_size=8)):
        later = now + timedelta(microseconds=part)
        assert not isinstance(decide(later, noted, rules), AskApproval)


@many
@given(moments(), all_rules)
def test_a_covered_day_or_a_closed_one_asks_no_phone(moment, rules):
    """Whatever was asked, told or failed before."""
    now, situation = moment
    covered = replace(situation, life=Life.KNOWN, expires_at=now + timedelta(days=2))
    closed = replace(rules, calendar=replace(rules.calendar, days={ist_date(now): None}))

    assert not isinstance(decide(now, covered, rules), AskApproval | TellPerson)
    assert not isinstance(decide(now, situation, closed), AskApproval | TellPerson)


@thorough
@given(moments(), all_rules, st.lists(outcomes, min_size=12, max_size=12), st.booleans())
def test_every_moment_comes_to_rest(moment, rules, answers, is_token_brought):
    """Each decision carried out, whatever comes of it, soon nothing is due for a while."""
    now, situation = moment
    requests = 0
    for answer in answers:
        decision = decide(now, situation, rules)
        match decision:
            case Wait(until):
                assert until > now
                break
            case AskApproval():
                requests += 1
                situation = after_asking(situation, decision, now, answer)
            case TellPerson(due_at=due_at):
                situation = replace(situation, told=due_at)
            case FindOut() | RenewSilently() if is_token_brought:
                situation = replace(
                    situation, life=Life.KNOWN, expires_at=next_cut(now), renewed_at=now,
                    failures=0, retry_at=None,
                )  # fmt: skip
            case FindOut() | RenewSilently():
                failures = situation.failures + 1
                retry_at = now + retry_delay(failures, 0.5)
                situation = replace(situation, failures=failures, retry_at=retry_at)
    else:
        raise AssertionError("twelve steps, and still something is due")

    assert requests <= 1


@budget(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    instants,
    all_rules,
    st.lists(outcomes, min_size=1, max_size=20),
    st.lists(st.timedeltas(timedelta(seconds=1), timedelta(hours=3)), min_size=1, max_size=20),
)
def test_days_of_any_kind_have_one_taken_request_each(start, rules, answers, naps):
    """Restarted at any time: at most one request is taken a day, each on a trading day.

    And a failing one is repeated at the pace of its backoff, not faster.
    """
    situation, now, steps = Situation(Life.NONE, can_ask_phone=True), start, 0
    final, tries = [], []
    while now < start + timedelta(days=3):
        steps += 1
        decision = decide(now, situation, rules)
        match decision:
            case Wait(until):
                now = min(until, now + naps[steps % len(naps)]) if steps % 3 else until
            case AskApproval():
                answer = answers[steps % len(answers)]
                situation = after_asking(situation, decision, now, answer)
                tries.append(now)
                if answer != "failed":
                    final.append(next_cut(now))
                assert rules.calendar.session_on(ist_date(now)) is not None
            case TellPerson(due_at=due_at):
                situation = replace(situation, told=due_at)
        assert steps < 5000

    assert len(final) == len(set(final))
    pauses = [b - a for a, b in pairwise(tries)]
    assert all(pause >= timedelta(seconds=4) for pause in pauses)


@many
@given(moments(), all_rules)
def test_a_phone_never_makes_the_person_wait_for_longer_than_a_minute(moment, rules):
    """Where the person would be told, it is the phone that rings, its retry near, or they are."""
    now, situation = moment
    without = decide(now, replace(situation, can_ask_phone=False), rules)
    if not isinstance(without, TellPerson):
        return

    decision = decide(now, replace(situation, can_ask_phone=True), rules)

    if isinstance(decision, Wait):
        assert situation.approval is not None
        assert situation.approval.retry_at is not None
        assert decision.until <= situation.approval.retry_at <= now + timedelta(minutes=1)
    else:
        assert isinstance(decision, AskApproval | TellPerson)
        assert (decision.stage, decision.due_at) == (without.stage, without.due_at)


def test_the_phone_too_is_left_alone_in_the_minute_after_the_cut():
    """Also where a session of one's own is open by then: a request could end with the old day."""
    rules = Rules(calendar=TradingCalendar(SessionHours(time(3, 0), time(15, 30))))
    situation = Situation(Life.NONE, can_ask_phone=True)

    assert not isinstance(decide(ist("2026-11-20 03:30:59"), situation, rules), AskApproval)
    assert isinstance(decide(ist("2026-11-20 03:31:00"), situation, rules), AskApproval)
