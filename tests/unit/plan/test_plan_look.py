"""What the files say comes to one situation, and what follows for the plan is put into words."""

from datetime import time, timedelta

import pytest
from support.house import ist
from unit.plan.looks import APP, CUT, NOW, OPAQUE, REFRESH, jwt, look_at

from broker_tokens.forecast import NextStep, next_step, renewal_sentence
from broker_tokens.model import Renewal, State, Way
from broker_tokens.policy import FindOut, Life, RenewSilently, TellPerson, Wait, decide
from broker_tokens.settings import load_settings


def given(**fields) -> dict:
    """Return what `look_at` is given."""
    return fields


LIVES = {
    "no token": (None, None, Life.NONE),
    "a token whose end nobody knows": (OPAQUE, None, Life.UNKNOWN),
    "an opaque token to the next 03:30": (OPAQUE, CUT, Life.KNOWN),
    "an opaque token that is dead": (OPAQUE, ist("2026-11-20 03:30"), Life.KNOWN),
    "an opaque token beyond the next 03:30, the clock was set back": (
        OPAQUE, CUT + timedelta(days=1), Life.UNKNOWN),
    "an opaque token from 2030": (OPAQUE, ist("2030-01-02 03:30"), Life.UNKNOWN),
    "a JWT that says a year": (jwt(ist("2027-11-20 03:30")), ist("2027-11-20 03:30"), Life.KNOWN),
}  # fmt: skip


@pytest.mark.parametrize(("token", "expires_at", "life"), LIVES.values(), ids=LIVES)
def test_the_life_of_the_stored_token_is(token, expires_at, life):
    """Known, unknown or none; an end that cannot be true is not handed to the plan."""
    look = look_at(token=token, expires_at=expires_at)

    assert look.situation.life is life
    assert look.situation.expires_at == (expires_at if life is Life.KNOWN else None)
    assert look.situation.is_live(NOW) is (life is Life.KNOWN and expires_at > NOW)


SILENT = {"refresh_token": REFRESH}
FOR_GOOD = {
    "a refresh token and an app": (SILENT, True),
    "no refresh token": ({}, False),
    "the grant left out of the ways": (
        {**SILENT, "UPSTOX_RENEWAL": "phone_approval,browser_login"}, False),
    "no client ID": ({**SILENT, "UPSTOX_CLIENT_ID": ""}, False),
    "no client secret": ({**SILENT, "UPSTOX_CLIENT_SECRET": ""}, False),
    "this refresh token was refused": (
        {**SILENT, "state": State(refused=(REFRESH.fingerprint,))}, False),
    "another refresh token was refused": (
        {**SILENT, "state": State(refused=("00000000",))}, True),
    "the app was refused": (
        {**SILENT, "state": State(refused=(load_settings(APP, {}).credentials_fingerprint,))},
        False),
    "another app was refused": (
        {**SILENT, "UPSTOX_CLIENT_ID": "new",
         "state": State(refused=(load_settings(APP, {}).credentials_fingerprint,))}, True),
}  # fmt: skip


@pytest.mark.parametrize(("found", "is_silent"), FOR_GOOD.values(), ids=FOR_GOOD)
def test_a_renewal_without_a_person_is_possible_with(found, is_silent):
    """All of: refresh token, credentials, the way wanted, and nothing refused before."""
    look = look_at(**found)

    assert look.situation.is_silent is is_silent


@pytest.mark.parametrize(("found", "is_silent"), FOR_GOOD.values(), ids=FOR_GOOD)
def test_how_the_next_token_comes_is_said_truly(found, is_silent):
    """Silently, or by a login and why; a way of a later release is not promised."""
    words = renewal_sentence(look_at(**found))

    assert ("silently" in words) is is_silent
    assert ("login by you" in words) is not is_silent
    assert "phone" not in words
    if not is_silent:
        assert ("no refresh token is stored" in words) is ("refresh_token" not in found)


def test_the_login_sentence_names_the_configured_hours():
    """Whoever trades other hours reads those."""
    words = renewal_sentence(look_at(UPSTOX_APPROVAL_TIME="07:10", UPSTOX_SESSION="08:15-23:55"))

    assert "07:10 IST" in words
    assert "between 03:30 and 08:15" in words


def test_somebody_elses_token_is_foreign():
    """One we did not write, and one whose end cannot be true; no token is nobody's."""
    assert not look_at().is_foreign
    assert not look_at(token=None, expires_at=None).is_foreign
    assert look_at(state=State()).is_foreign
    assert look_at(expires_at=CUT + timedelta(days=1)).is_foreign


def test_the_situation_carries_what_was_saved():
    """Renewal, failures, retry and told reach the plan; so do the rules."""
    at = [NOW - timedelta(minutes=n) for n in range(3)]
    state = State(
        written={OPAQUE.fingerprint: CUT},
        failures=4,
        retry_at=at[0] + timedelta(minutes=5),
        told=at[1],
        last_renewal=Renewal(at[2], Way.REFRESH_GRANT),
    )

    look = look_at(state=state, UPSTOX_REFRESH_TIME="04:05", UPSTOX_SESSION="09:00-23:55")

    situation = look.situation
    assert (situation.failures, situation.retry_at, situation.told) == (4, state.retry_at, at[1])
    assert situation.renewed_at == at[2]
    assert look.is_backing_off
    assert look.rules.refresh_time == time(4, 5)
    assert look.rules.calendar.hours.closes == time(23, 55)


def test_without_an_app_there_is_no_login_address_and_no_error():
    """A status can be shown all the same."""
    assert look_at().login_url == "https://login.example"
    assert look_at(UPSTOX_CLIENT_ID="").login_url == ""


def test_the_person_is_needed_when_the_stage_has_come():
    """At 08:00 without a token, not a minute before."""
    gone = {"token": None, "expires_at": None}

    assert look_at(ist("2026-11-20 08:00"), **gone).needs_person
    assert not look_at(ist("2026-11-20 07:59"), **gone).needs_person


NEXT_STEPS = {
    "a dead token with a silent way": (
        given(expires_at=ist("2026-11-20 03:30"), **SILENT), "renew silently", "2026-11-20 12:00"),
    "a live token with a silent way": (SILENT, "renew silently", "2026-11-21 02:00"),
    "a live token on Friday without one": ({}, "ask for a login", "2026-11-23 08:00"),
    "an unknown token": (given(expires_at=None), "ask the broker", "2026-11-20 12:00"),
    "no token in the session": (
        given(token=None, expires_at=None), "ask for a login", "2026-11-20 12:00"),
    "no token, asked already": (
        given(token=None, expires_at=None, state=State(told=ist("2026-11-20 12:00"))),
        "ask for a login", "2026-11-20 12:30"),
    "an hour's backoff": (
        given(expires_at=ist("2026-11-20 03:30"), **SILENT,
             state=State(failures=9, retry_at=ist("2026-11-20 12:09"), told=NOW)),
        "renew silently", "2026-11-20 12:09"),
    "a read-only token of a year": (
        given(token=jwt(ist("2027-11-19 03:30")), expires_at=ist("2027-11-19 03:30")),
        "ask for a login", "2027-11-19 08:00"),
    "a token of a year with a silent way": (
        given(token=jwt(ist("2027-11-19 03:30")), expires_at=ist("2027-11-19 03:30"), **SILENT),
        "renew silently", "2027-11-19 02:00"),
    "a token to the year 2999": (
        given(token=jwt(ist("2999-11-19 03:30")), expires_at=ist("2999-11-19 03:30")),
        "ask for a login", "2999-11-19 08:00"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "what", "at"), NEXT_STEPS.values(), ids=NEXT_STEPS)
def test_the_next_step_is(found, what, at):
    """What the plan would do, and when, if nothing else changes."""
    step = next_step(look_at(**found))

    assert step.what.startswith(what)
    assert step.at == ist(at)


@pytest.mark.parametrize("hour", range(0, 96, 3))
@pytest.mark.parametrize("name", NEXT_STEPS)
def test_the_next_step_agrees_with_the_plan(name, hour):
    """At the foretold time the foretold thing is due, and a moment before it nothing is."""
    look = look_at(ist("2026-11-20 00:10") + timedelta(hours=hour), **NEXT_STEPS[name][0])
    step = next_step(look)

    words = {FindOut: "ask the broker", RenewSilently: "renew", TellPerson: "ask for a login"}
    due = decide(step.at, look.situation, look.rules)
    assert step.what.startswith(words[type(due)])
    if step.at > look.now:
        before = decide(step.at - timedelta(microseconds=1), look.situation, look.rules)
        assert isinstance(before, Wait)


def test_a_step_is_said_with_its_time_and_the_time_left():
    """Or with `now`."""
    step = NextStep("renew", ist("2026-11-21 02:00"))

    assert step.sentence(NOW) == "Next: renew (Sat 21 Nov 2026 02:00 IST, in 14 h 0 min)."
    assert step.sentence(step.at) == "Next: renew (now)."
