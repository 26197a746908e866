"""Which deliveries are worth the broker's judgement: all that can be told without asking it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.house import ist
from unit.plan.looks import jwt, look_at
from unit.plan.moments import many

from broker_tokens.errors import TokenRejected
from broker_tokens.model import Approval, Renewal, State, Way
from broker_tokens.renewals.phone_approval import Delivery, check, is_outstanding, owner
from broker_tokens.secrets import Secret

NOW, CUT = ist("2026-11-20 08:12"), ist("2026-11-21 03:30")
ACCOUNT = "4HCYNF"
GONE = {"token": None, "expires_at": None}
MILLISECOND = timedelta(milliseconds=1)
ASKED = State(approval=Approval(ist("2026-11-20 08:00"), CUT))


def epoch(text: str) -> int:
    return int(ist(text).timestamp())


def delivered(**changes) -> Delivery:
    """Return what the broker sends at 08:12, with changes."""
    good = Delivery(Secret("approved-token"), "i", ACCOUNT, NOW - timedelta(seconds=2), CUT)
    return replace(good, **changes)


def refusal(delivery: Delivery, look) -> str:
    """Return why a delivery is refused; the reason names no account and no token."""
    with pytest.raises(TokenRejected) as caught:
        check(delivery, look)
    text = str(caught.value)
    assert delivery.token.reveal() not in text
    assert ACCOUNT not in text
    return caught.value.cause


def test_the_expected_token_is_worth_it():
    """Of our app and account, alive to the next 03:30: opaque or not, asked for by us or not."""
    token = jwt(CUT, sub=ACCOUNT, iat=epoch("2026-11-20 08:11"))

    for state in (State(), ASKED):
        look = look_at(NOW, user_id=ACCOUNT, state=state, **GONE)
        check(delivered(), look)
        check(delivered(token=token), look)


STRANGE = {
    "another app": ({"client_id": "I"}, "another app"),
    "an app that is no text": ({"client_id": "\ud800"}, "another app"),
    "an app of a like beginning": ({"client_id": "ii"}, "another app"),
    "another account": ({"user_id": "OTHER1"}, "another account"),
    "our account in small letters": ({"user_id": ACCOUNT.lower()}, "another account"),
    "a JWT of another account": (
        {"token": jwt(CUT, sub="OTHER1")}, "another account's name"),
    "over this very moment": ({"expires_at": NOW}, "over"),
    "over since this morning": ({"expires_at": ist("2026-11-20 03:30")}, "over"),
    "a moment beyond the next 03:30": ({"expires_at": CUT + MILLISECOND}, "too good"),
    "a year": ({"expires_at": ist("2027-11-20 03:30")}, "too good"),
    "a day more": ({"expires_at": CUT + timedelta(days=1)}, "too good"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("state", [State(), ASKED], ids=["unasked", "asked"])
def test_a_strange_delivery_is_not(state, changes, reason):
    """That we have asked makes nothing else believable."""
    look = look_at(NOW, user_id=ACCOUNT, state=state, **GONE)

    assert reason in refusal(delivered(**changes), look)


@pytest.mark.parametrize(
    "expires_at",
    [CUT, CUT.astimezone(UTC), CUT - MILLISECOND, NOW + MILLISECOND],
    ids=["0330 sharp", "0330 in UTC", "just before", "a millisecond's life"],
)
def test_an_end_up_to_the_next_cut_is_believable(expires_at):
    """Exactly 03:30 is what the broker sends."""
    check(delivered(expires_at=expires_at), look_at(NOW, user_id=ACCOUNT, **GONE))


def test_just_after_the_cut_the_next_one_counts():
    """Approved at 03:30:01, a token ends a day later; that of the day before is over."""
    look = look_at(ist("2026-11-20 03:30"), user_id=ACCOUNT, **GONE)

    check(delivered(expires_at=CUT), look)
    assert "over" in refusal(delivered(expires_at=ist("2026-11-20 03:30")), look)


OUTSTANDING = {
    "never asked": (None, False),
    "asked this morning": (Approval(ist("2026-11-20 08:00"), CUT), True),
    "asked, the reply lost": (Approval(ist("2026-11-20 08:00")), True),
    "asked at 03:30 sharp": (Approval(ist("2026-11-20 03:30")), True),
    "asked a second before the cut": (Approval(ist("2026-11-20 03:29:59")), False),
    "asked yesterday": (Approval(ist("2026-11-19 08:00"), ist("2026-11-20 03:30")), False),
    "asked tomorrow, by a clock since set back": (Approval(ist("2026-11-21 08:00")), False),
    "asked in an hour, by a clock since set back": (Approval(ist("2026-11-20 09:12")), True),
    "refused": (Approval(ist("2026-11-20 08:00"), refusal="under review"), False),
    "answered": (Approval(ist("2026-11-20 08:00"), CUT, answered="00000000"), False),
    "failed in passing": (
        Approval(ist("2026-11-20 08:00"), retry_at=ist("2026-11-20 08:13"), tries=1), False),
}  # fmt: skip


@pytest.mark.parametrize(("approval", "expected"), OUTSTANDING.values(), ids=OUTSTANDING)
def test_a_request_is_outstanding(approval, expected):
    """From the request to the answer or the cut, unless the broker did not take it."""
    look = look_at(NOW, state=State(approval=approval), **GONE)

    assert is_outstanding(look) is expected


@pytest.mark.parametrize(("approval", "expected"), OUTSTANDING.values(), ids=OUTSTANDING)
def test_without_a_known_account_only_what_was_asked_for_is_worth_it(approval, expected):
    """Else a stranger's own token would become ours."""
    look = look_at(NOW, state=State(approval=approval), **GONE)

    if expected:
        check(delivered(), look)
    else:
        assert "nobody asked for" in refusal(delivered(), look)


STORED_AT = "2026-11-20 08:10"
BY_LOGIN = Renewal(ist(STORED_AT), Way.BROWSER_LOGIN)


def stored(token: Secret, expires_at: datetime = CUT, renewal: Renewal | None = BY_LOGIN, **more):
    """Return a look at a `.env` that holds a token since 08:10."""
    state = State(written={token.fingerprint: expires_at}, last_renewal=renewal, **more)
    return look_at(NOW, token, expires_at, state=state, user_id=ACCOUNT)


OPAQUE = Secret("stored-token")
TELLING = jwt(CUT, sub=ACCOUNT, iat=epoch(STORED_AT))
BEFORE, AFTER = ist("2026-11-20 08:09:59"), ist("2026-11-20 08:10:01")
OLDER = {
    "opaque over opaque, issued before": (OPAQUE, {"issued_at": BEFORE}, True),
    "opaque over opaque, issued after": (OPAQUE, {"issued_at": AFTER}, False),
    "opaque over opaque, the same moment": (OPAQUE, {"issued_at": ist(STORED_AT)}, False),
    "opaque over a JWT, issued before": (TELLING, {"issued_at": BEFORE}, True),
    "opaque over a JWT, issued after": (TELLING, {"issued_at": AFTER}, False),
    "a JWT over opaque, issued before": (
        OPAQUE, {"token": jwt(CUT, iat=epoch("2026-11-20 08:09"))}, True),
    "a JWT over opaque, issued after": (
        OPAQUE, {"token": jwt(CUT, iat=epoch("2026-11-20 08:11"))}, False),
    "a JWT whose delivery makes it younger than it says": (
        TELLING, {"token": jwt(CUT, iat=epoch("2026-11-20 08:09")), "issued_at": AFTER}, True),
    "a JWT whose delivery makes it older than it says": (
        TELLING, {"token": jwt(CUT, iat=epoch("2026-11-20 08:11")), "issued_at": BEFORE}, False),
    "a JWT of the same second": (
        TELLING, {"token": jwt(CUT, iat=epoch(STORED_AT), jti="other")}, False),
}  # fmt: skip


@pytest.mark.parametrize(("token", "changes", "is_older"), OLDER.values(), ids=OLDER)
def test_an_older_token_is_no_match_for_the_stored_one(token, changes, is_older):
    """Both end at 03:30: the time of issue decides, and the token's own word before the body's."""
    if is_older:
        assert "older" in refusal(delivered(**changes), stored(token))
    else:
        check(delivered(**changes), stored(token))


def test_an_older_token_is_better_than_a_dead_one_or_one_nobody_can_date():
    """Age counts against a live token alone."""
    old = delivered(issued_at=ist("2026-11-20 04:00"))

    check(old, stored(OPAQUE, expires_at=ist("2026-11-20 08:11")))
    check(old, stored(OPAQUE, renewal=None))
    check(old, look_at(NOW, user_id=ACCOUNT, **GONE))
    check(old, look_at(NOW, OPAQUE, None, user_id=ACCOUNT))  # its life is unknown


def test_the_same_token_again_is_no_offence():
    """Duplicates are harmless, late ones too."""
    check(delivered(token=OPAQUE, issued_at=ist("2026-11-20 04:00")), stored(OPAQUE))


def test_what_the_broker_has_refused_is_not_shown_to_it_again():
    """Known by its fingerprint; another token is not concerned."""
    look = look_at(NOW, user_id=ACCOUNT, state=State(refused=("00000000",)), **GONE)
    again = State(refused=(delivered().token.fingerprint,))

    check(delivered(), look)
    assert "has refused" in refusal(delivered(), look_at(NOW, user_id=ACCOUNT, state=again, **GONE))


class Profile:
    """A broker that names the owner of a token."""

    def __init__(self, account: str) -> None:
        self.account = account

    def user_id(self, token: Secret) -> str:
        return self.account


def test_the_owner_is_whom_the_token_or_else_the_profile_names():
    """The body's word is a claim; one that differs is refused."""
    telling = delivered(token=jwt(CUT, sub=ACCOUNT))

    assert owner(telling, Profile("NOBODY")) == ACCOUNT
    assert owner(delivered(), Profile(ACCOUNT)) == ACCOUNT
    for delivery, profile in (
        (delivered(), "OTHER1"),
        (delivered(token=jwt(CUT, sub="OTHER1")), ACCOUNT),
    ):
        with pytest.raises(TokenRejected, match="another account's name"):
            owner(delivery, Profile(profile))


@many
@given(
    st.text(min_size=1),
    st.text(min_size=1),
    st.timedeltas(timedelta(days=-3), timedelta(days=3)),
    st.timedeltas(timedelta(days=-3), timedelta(days=3)),
)
def test_no_delivery_raises_anything_but_a_refusal(client_id, user_id, issued, ends):
    """And what passes is of our app and account, and ends in time."""
    delivery = delivered(
        client_id=client_id, user_id=user_id, issued_at=NOW + issued, expires_at=NOW + ends
    )
    try:
        check(delivery, look_at(NOW, user_id=ACCOUNT, **GONE))
    except TokenRejected:
        return
    assert (delivery.client_id, delivery.user_id) == ("i", ACCOUNT)
    assert NOW < delivery.expires_at <= CUT
