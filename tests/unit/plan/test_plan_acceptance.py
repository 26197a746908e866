"""What a new token changes in `.env` and state, by the way it came."""

from dataclasses import replace

import pytest
from support.house import ist
from unit.plan.looks import jwt, look_at

from broker_tokens.errors import TokenRejected
from broker_tokens.model import Approval, State, TokenReply, Way
from broker_tokens.renewals.acceptance import updates_for
from broker_tokens.secrets import Secret

NOW, CUT = ist("2026-11-20 08:12"), ist("2026-11-21 03:30")
NEW, OLD = Secret("new-token"), Secret("old-token")
ASKED = State(
    approval=Approval(ist("2026-11-20 08:00"), CUT),
    told=ist("2026-11-20 08:00"),
    failures=3,
    retry_at=ist("2026-11-20 08:20"),
    probed_at=ist("2026-11-20 08:10"),
    noticed={"asked": ist("2026-11-20 08:00")},
)
GONE = {"token": None, "expires_at": None}
OUTSIDE = (Way.PASTE, Way.PHONE_APPROVAL)


@pytest.mark.parametrize("way", Way)
def test_only_the_approved_token_answers_the_request(way):
    """After another one came the request stays as it was: it may still be approved."""
    updates, state = updates_for(look_at(NOW, state=ASKED, **GONE), TokenReply(NEW, CUT), way)

    assert updates["access_token"] == "new-token"
    fingerprint = NEW.fingerprint if way is Way.PHONE_APPROVAL else ""
    assert state.approval == replace(ASKED.approval, answered=fingerprint)
    assert state.last_renewal is not None
    assert (state.last_renewal.at, state.last_renewal.way) == (NOW, way)


def test_an_approved_token_that_nobody_asked_for_answers_nothing():
    """Asked for on the developer page, say: there is no request to note it with."""
    look = look_at(NOW, user_id="4HCYNF", **GONE)
    updates, state = updates_for(look, TokenReply(NEW, CUT), Way.PHONE_APPROVAL)

    assert updates["access_token"] == "new-token"
    assert state.approval is None


@pytest.mark.parametrize("way", Way)
def test_nothing_is_left_to_wait_for(way):
    """Failures, retry and what was told are over; what is remembered for other ends stays."""
    _, state = updates_for(look_at(NOW, state=ASKED, **GONE), TokenReply(NEW, CUT), way)

    assert (state.failures, state.retry_at, state.told) == (0, None, None)
    assert state.written[NEW.fingerprint] == CUT
    assert (state.probed_at, state.noticed) == (ASKED.probed_at, ASKED.noticed)


@pytest.mark.parametrize("way", Way)
def test_a_token_that_ends_within_the_session_leaves_the_person_told(way):
    """Else its end would have them told all over again."""
    ends = ist("2026-11-20 15:29")
    _, state = updates_for(look_at(NOW, state=ASKED, **GONE), TokenReply(NEW, ends), way)

    assert state.told == ASKED.told


@pytest.mark.parametrize("way", Way)
def test_a_token_that_is_outlived_by_the_stored_one_is_not_written(way):
    """One from outside is refused; with a reply of the broker, its refresh token is kept."""
    state = replace(ASKED, written={OLD.fingerprint: CUT})
    look = look_at(NOW, OLD, CUT, state=state)
    reply = TokenReply(NEW, ist("2026-11-20 12:00"), refresh_token=Secret("rotated"))

    if way in OUTSIDE:
        with pytest.raises(TokenRejected, match="lives longer"):
            updates_for(look, reply, way)
    else:
        updates, after = updates_for(look, reply, way)
        assert updates == {"UPSTOX_REFRESH_TOKEN": "rotated"}
        assert after.approval == ASKED.approval
        assert NEW.fingerprint not in after.written
        assert after.told is None, "the stored token covers the session"


def test_the_end_of_the_new_token_says_whether_the_day_is_covered():
    """Not that of the dead one it replaces; to the last minute of the session is enough."""
    dead = ist("2026-11-20 03:30")
    state = replace(ASKED, written={OLD.fingerprint: dead})
    for end in (CUT, ist("2026-11-20 15:30")):
        look = look_at(NOW, OLD, dead, state=state)
        _, after = updates_for(look, TokenReply(NEW, end), Way.REFRESH_GRANT)
        assert after.told is None


def test_a_phone_token_replaces_one_that_lives_as_long_or_one_of_a_year():
    """Both of a day end at 03:30; a read-only token of a year is no trading token."""
    year = ist("2027-11-19 03:30")
    for stored, expires_at in ((OLD, CUT), (jwt(year), year), (OLD, ist("2026-11-20 03:30"))):
        state = State(written={stored.fingerprint: expires_at})
        look = look_at(NOW, stored, expires_at, state=state)

        updates, _ = updates_for(look, TokenReply(NEW, CUT), Way.PHONE_APPROVAL)
        assert updates["access_token"] == "new-token"
        assert updates["UPSTOX_TOKEN_EXPIRES_AT"] == "2026-11-21T03:30:00+05:30"


@pytest.mark.parametrize("way", Way)
def test_a_token_of_another_account_is_refused_by_every_way(way):
    """By the reply's word and by the token's own."""
    look = look_at(NOW, user_id="OTHER1", state=ASKED, **GONE)

    for reply in (TokenReply(NEW, CUT, "4HCYNF"), TokenReply(jwt(CUT, sub="4HCYNF"), CUT)):
        with pytest.raises(TokenRejected, match="account 4HCYNF"):
            updates_for(look, reply, way)


ACCOUNTS = {
    "of the reply": (TokenReply(NEW, CUT, "4HCYNF"), "4HCYNF"),
    "of the JWT": (TokenReply(jwt(CUT, sub="4HCYNF"), CUT), "4HCYNF"),
    "that nobody tells": (TokenReply(NEW, CUT), None),
    "with a blank": (TokenReply(NEW, CUT, "4H CYNF"), None),
    "of letters that .env readers disagree on": (TokenReply(NEW, CUT, "J\u00dcRGEN"), None),
    "of digits of another script": (TokenReply(NEW, CUT, "\u0967\u0968"), None),
    "with a line end": (TokenReply(NEW, CUT, "4HCYNF\n"), None),
}


@pytest.mark.parametrize(("reply", "pinned"), ACCOUNTS.values(), ids=ACCOUNTS)
def test_the_first_token_pins_the_account(reply, pinned):
    """One that cannot be written is left out, as the token must not be lost with it."""
    updates, _ = updates_for(look_at(NOW, **GONE), reply, Way.PHONE_APPROVAL)

    assert updates.get("UPSTOX_USER_ID") == pinned
    assert updates["access_token"] == reply.access_token.reveal()


def test_what_the_broker_gives_again_it_no_longer_refuses():
    """A token it called dead, and the app it refused, are forgiven by its giving."""
    look = look_at(NOW, state=State(refused=(NEW.fingerprint, "00000000")), **GONE)
    app = look.settings.credentials_fingerprint
    look = replace(look, state=look.state.with_refused(app))

    _, state = updates_for(look, TokenReply(NEW, CUT), Way.PHONE_APPROVAL)

    assert state.refused == ("00000000",)
