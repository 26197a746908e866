"""What the plan remembers over a restart: all of it comes back, and damage is no accident."""

import json
from copy import deepcopy
from dataclasses import fields
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from support.house import ist
from unit.plan.looks import look_at

from broker_tokens.forecast import next_step
from broker_tokens.model import Approval, Failure, MarketDays, Renewal, Session, State, Way
from broker_tokens.secrets import Secret
from broker_tokens.state_file import load_state, save_state
from broker_tokens.watch import calendar_due_at, probe_due_at

AT = [ist("2026-11-20 08:00") + timedelta(seconds=n, microseconds=n) for n in range(12)]
MUHURAT = Session(ist("2026-11-08 17:45"), ist("2026-11-08 19:15"))
FULL = State(
    written={"aabbccdd": AT[0]},
    refused=("11111111",),
    spent_codes=("22222222",),
    failures=3,
    retry_at=AT[1],
    told=AT[2],
    last_renewal=Renewal(AT[3], Way.PHONE_APPROVAL),
    last_failure=Failure(AT[4], "503 Service Unavailable"),
    approval=Approval(AT[5], AT[6], "The app is under review.", AT[7], 4, "44444444"),
    noticed={"asked 2026-11-20": AT[8], "alarm 2026-11-20": AT[9]},
    probed_at=AT[10],
    calendar=MarketDays({date(2026, 11, 8): MUHURAT, date(2026, 11, 10): None}, AT[11], AT[10]),
    ran_for="33333333",
    command_failure=Failure(AT[9], "It ended with exit code 3."),
)
NEW = ("approval", "noticed", "probed_at", "calendar", "ran_for", "command_failure")


def saved(folder, state: State) -> str:
    """Save a state and return its text."""
    save_state(str(folder / "state"), state, owned_like=str(folder), durable=False)
    return (folder / "state").read_text()


def loaded(folder, text: str) -> State:
    """Return what is made of a text."""
    (folder / "state").write_text(text)
    return load_state(str(folder / "state"))


def test_every_field_is_set_in_this_test():
    """A new field is given a value here, or the tests below say nothing of it."""
    assert [
        f.name for f in fields(State) if getattr(FULL, f.name) == getattr(State(), f.name)
    ] == []


@pytest.mark.parametrize("name", [f.name for f in fields(State)])
def test_each_field_survives_a_restart_by_itself(tmp_path, name):
    """Saved alone or with all others, to the microsecond."""
    alone = State(**{name: getattr(FULL, name)})

    assert loaded(tmp_path, saved(tmp_path, alone)) == alone
    assert getattr(loaded(tmp_path, saved(tmp_path, FULL)), name) == getattr(FULL, name)


APPROVALS = [
    Approval(AT[0]),
    Approval(AT[0], AT[1]),
    Approval(AT[0], refusal="no notifier address"),
    Approval(AT[0], retry_at=AT[1], tries=9),
    Approval(AT[0], AT[1], answered="44444444"),
]


@pytest.mark.parametrize(
    "approval", APPROVALS, ids=["sent", "taken", "refused", "retried", "answered"]
)
def test_each_kind_of_request_survives_a_restart(tmp_path, approval):
    """A restart neither asks again nor forgets a retry."""
    assert loaded(tmp_path, saved(tmp_path, State(approval=approval))).approval == approval


@pytest.mark.parametrize("missing", [NEW, *((name,) for name in NEW)], ids="-".join)
def test_a_state_of_an_older_release_is_read_with_all_it_has(tmp_path, missing):
    """Keys it does not know yet are as if nothing had happened; what it tells is kept."""
    content = json.loads(saved(tmp_path, FULL))
    old = {key: value for key, value in content.items() if key not in missing}

    state = loaded(tmp_path, json.dumps(old))

    for field in fields(State):
        expected = State() if field.name in missing else FULL
        assert getattr(state, field.name) == getattr(expected, field.name), field.name


def test_keys_of_a_later_release_are_passed_over(tmp_path):
    """Going back a release loses nothing that the older one knows."""
    later = {**json.loads(saved(tmp_path, FULL)), "mood": "good"}

    assert loaded(tmp_path, json.dumps(later)) == FULL


AWAY = "2026-11-08T17:45:00"  # without a zone
GOOD = f"{AWAY}+05:30"
REQUEST = {
    "asked_at": GOOD,
    "expires_at": None,
    "refusal": "",
    "retry_at": None,
    "tries": 0,
    "answered": "",
}
CALENDAR = {"asked_at": None, "learned_at": None, "days": {}}
WRONG = {
    "approval": [
        *("x", 5, [], {}, True, {**REQUEST, "asked_at": None}, {**REQUEST, "asked_at": AWAY}),
        *({**REQUEST, "expires_at": "soon"}, {**REQUEST, "retry_at": 5}),
        *({**REQUEST, "refusal": None}, {**REQUEST, "refusal": 5}, {**REQUEST, "refusal": ["x"]}),
        *({**REQUEST, "answered": None}, {**REQUEST, "answered": ["x"]}),
        *({**REQUEST, "tries": "many"}, {**REQUEST, "tries": None}),
        *({**REQUEST, "tries": float("inf")}, {"asked_at": GOOD}),
        {**REQUEST, "asked_at": "9999-12-31T23:59:59+05:30"},
        {**REQUEST, "asked_at": "0001-01-01T00:00:00+05:30"},
    ],
    "noticed": ["x", 5, ["asked"], None, {"asked": None}, {"asked": "soon"}, {"asked": AWAY}],
    "probed_at": [5, "soon", AWAY, [], {}, True, "9999-12-31T23:59:59+05:30"],
    "calendar": [
        *("x", 5, [1], {"days": {}}, {**CALENDAR, "days": None}, {**CALENDAR, "days": []}),
        *({**CALENDAR, "asked_at": "soon"}, {**CALENDAR, "learned_at": AWAY}),
        *({**CALENDAR, "days": {day: None}} for day in ("today", "2026-13-01", "", "2026-02-30")),
        *(
            {**CALENDAR, "days": {"2026-11-08": hours}}
            for hours in (
                *("x", 5, [], [GOOD], [GOOD, None], [GOOD, AWAY], [GOOD, GOOD, GOOD], {}, False),
                *([GOOD, GOOD], [GOOD, "2026-11-08T17:00:00+05:30"]),
                ["1980-01-01T00:00:00+05:30", "2900-01-01T00:00:00+05:30"],
            )
        ),
    ],
    "command_failure": ["x", 5, {}, {"at": GOOD}, {"at": None, "what": "y"}],
    "last_failure": [{"at": GOOD, "what": 5}, {"at": GOOD, "what": None}],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, id=f"{key}-{place}")
        for key in WRONG
        for place, value in enumerate(WRONG[key])
    ],
)
def test_a_damaged_part_makes_a_fresh_state(tmp_path, key, value):
    """Never an exception, and never a half of what was known; the next save mends it."""
    damaged = {**json.loads(saved(tmp_path, FULL)), key: value}

    assert loaded(tmp_path, json.dumps(damaged)) == State()
    assert loaded(tmp_path, saved(tmp_path, FULL)) == FULL


def test_no_secret_is_saved(tmp_path):
    """A broker's or a command's words may repeat one; it is struck out."""
    secret = Secret("planted-s3cret/of=ours")
    words = f"Refused: {secret.reveal()} and planted-s3cret%2Fof%3Dours."
    state = State(
        approval=Approval(AT[0], refusal=words),
        last_failure=Failure(AT[0], words),
        command_failure=Failure(AT[0], words),
    )

    text = saved(tmp_path, state)

    assert "s3cret" not in text
    assert text.count("<secret>") == 6


def leaves(content, path=()):
    """Yield the path to each value of some JSON."""
    yield path
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from leaves(value, (*path, key))


any_instant = st.datetimes().map(lambda at: f"{at.isoformat()}+05:30")
any_value = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), any_instant,
    st.lists(any_instant, max_size=2), st.dictionaries(st.text(), any_instant, max_size=2),
)  # fmt: skip


@budget(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_no_damage_stops_the_plan(tmp_path_factory, data):
    """Whatever stands in any place: it is loaded, the plan decides, and it is saved again."""
    folder = tmp_path_factory.getbasetemp()
    content = deepcopy(json.loads(saved(folder, FULL)))
    *way, last = data.draw(st.sampled_from([path for path in leaves(content) if path]))
    place = content
    for key in way:
        place = place[key]
    place[last] = data.draw(any_value)

    state = loaded(folder, json.dumps(content))

    look = look_at(AT[0], state=state, is_listening=True, UPSTOX_NOTIFIER_SECRET="k" * 43)
    assert next_step(look).at >= look.now
    probe_due_at(look.now, look.situation, look.rules, state.probed_at)
    calendar_due_at(look.now, state.calendar)
    assert loaded(folder, saved(folder, state)) == state
