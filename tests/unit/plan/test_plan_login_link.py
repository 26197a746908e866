"""The `state` of a login link: signed, in time, used once, and no text makes it stumble."""

import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.house import ist
from unit.plan.looks import look_at
from unit.plan.moments import many

from broker_tokens.errors import TokenRejected
from broker_tokens.renewals.login_link import check_state, is_link_state, new_state
from broker_tokens.secrets import Secret

KEY, OTHER_KEY = Secret("k" * 43), Secret("l" * 43)
NOW, CUT = ist("2026-11-20 09:10"), ist("2026-11-21 03:30")
SECOND = timedelta(seconds=1)


def refusal(state: str, key=KEY, now=NOW, used=()) -> str:
    """Return why a state is refused."""
    with pytest.raises(TokenRejected) as caught:
        check_state(key, state, now, used)
    return caught.value.cause


def test_a_link_is_good_until_its_end_and_after_a_restart():
    """Nothing but the key is needed to know it again."""
    state = new_state(KEY, CUT)

    assert is_link_state(KEY, state)
    for now in (NOW, CUT - SECOND, CUT - timedelta(microseconds=1)):
        check_state(KEY, state, now, ())


def test_at_its_end_a_link_is_too_old_and_still_known_as_ours():
    """The very second counts; the person is told to open the newest link, not that it is forged."""
    state = new_state(KEY, CUT)

    for now in (CUT, CUT + SECOND, CUT + timedelta(days=400)):
        assert "too old" in refusal(state, now=now)
    assert is_link_state(KEY, state)


def test_a_link_works_once():
    """Its fingerprint is what is kept; another link of the same moment is not concerned."""
    state, other = new_state(KEY, CUT), new_state(KEY, CUT)

    assert "only once" in refusal(state, used=("00000000", Secret(state).fingerprint))
    check_state(KEY, other, NOW, (Secret(state).fingerprint,))


def test_no_two_links_are_alike():
    """Nor does one tell the key."""
    states = {new_state(KEY, CUT) for _ in range(500)}

    assert len(states) == 500
    assert not any(KEY.reveal() in state for state in states)


def test_a_link_survives_an_address_as_it_is():
    """Short, and of characters that no browser or messenger changes."""
    state = new_state(KEY, ist("2999-12-31 03:30"))

    assert len(state) < 100
    assert set(state) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_another_env_files_link_is_not_ours():
    """Another key, another house."""
    state = new_state(OTHER_KEY, CUT)

    assert not is_link_state(KEY, state)
    assert "another login" in refusal(state)


@pytest.mark.parametrize("part", ["expiry", "nonce", "signature"])
def test_a_changed_part_breaks_the_seal(part):
    """Each character of each part counts; a later end cannot be had for the asking."""
    expiry, nonce, signature = new_state(KEY, CUT).split(".")
    parts = {"expiry": expiry, "nonce": nonce, "signature": signature}
    whole = parts[part]
    for place, character in enumerate(whole):
        other = "0" if character != "0" else "1"
        changed = {**parts, part: whole[:place] + other + whole[place + 1 :]}
        state = ".".join(changed.values())

        assert not is_link_state(KEY, state), state
        assert "another login" in refusal(state)


def test_what_is_added_or_left_out_breaks_the_seal():
    """Nor can the dots be moved."""
    state = new_state(KEY, CUT)
    expiry, nonce, signature = state.split(".")
    variants = [
        *(state + "0", "0" + state, state + ".", "." + state, state + "\n", " " + state),
        *(state[1:], state[:-1], state.upper(), state * 2, f"{expiry}.{signature}"),
        *(f"{expiry}{nonce}.{signature}", f"{expiry}.{nonce}.", f"{nonce}.{expiry}.{signature}"),
        *(signature, "", ".", "..", "a" * 10_000, "\0", "\u0660" * 40, "\ud800", "\udcff"),
    ]

    for variant in variants:
        assert not is_link_state(KEY, variant), variant
        assert "another login" in refusal(variant)


def test_the_key_signs_links_and_nothing_else_that_it_may_sign():
    """A signature made with the key for another purpose does not open this door."""
    content = f"{int(CUT.timestamp()):x}.nonce"
    plain = hmac.new(KEY.reveal().encode(), content.encode(), hashlib.sha256).hexdigest()[:40]

    assert not is_link_state(KEY, f"{content}.{plain}")


@many
@given(st.text() | st.from_regex(r"[0-9a-f]{1,8}\.[A-Za-z0-9_-]{16}\.[0-9a-f]{40}", fullmatch=True))
def test_no_text_is_taken_for_a_link_and_none_makes_it_stumble(text):
    """Whatever comes in a redirect: another login's answer, and TokenRejected."""
    assert is_link_state(KEY, text) is False
    assert "another login" in refusal(text)


@many
@given(
    st.integers(0, 4_000_000_000).map(lambda n: ist("1970-01-02 00:00") + n * SECOND),
    st.integers(-3_000_000, 3_000_000),
)
def test_a_link_is_good_before_its_end_and_never_after(ends, left):
    """Whenever it was made, to the second."""
    state, now = new_state(KEY, ends), ends - left * SECOND

    if left > 0:
        check_state(KEY, state, now, ())
    else:
        assert "too old" in refusal(state, now=now)


def test_each_look_offers_a_new_link_that_ends_at_the_cut():
    """Where there is a notifier's secret; else the login has no state of ours."""
    seen = []

    class Broker:
        def authorization_url(self, state=None):
            seen.append(state)
            return "https://login.example"

    listening = replace(look_at(NOW, UPSTOX_NOTIFIER_SECRET=KEY.reveal()), broker=Broker())
    assert listening.login_url == listening.login_url == "https://login.example"
    assert replace(look_at(NOW), broker=Broker()).login_url

    first, second, none = seen
    assert first != second
    assert none is None
    for state in (first, second):
        check_state(KEY, state, CUT - SECOND, ())
        assert "too old" in refusal(state, now=CUT)
