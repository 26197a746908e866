"""A code is spent once, and what it may still have brought is never lost."""

from datetime import timedelta

import pytest
from support.house import ist
from unit.service.approvals import KEY
from unit.service.scripted import ScriptedBroker

from broker_tokens.brokers import UselessReply
from broker_tokens.env_text import EnvText
from broker_tokens.errors import ConfigurationError, StoreError, TemporaryFailure, TokenRejected
from broker_tokens.model import TokenReply
from broker_tokens.renewals.code_exchange import read_code, state_of
from broker_tokens.renewals.login_link import new_state
from broker_tokens.secrets import Secret

CODE = Secret("mk404x")


@pytest.fixture
def broker():
    """A broker that does with a code what a test says."""
    return ScriptedBroker()


def values(house):
    """Return what `.env` says now."""
    return EnvText(house.env_file.read_bytes()).values


def brings(error_or_reply):
    """Return what the broker does: raise an error or return a reply."""

    def act():
        if isinstance(error_or_reply, Exception):
            raise error_or_reply
        return error_or_reply

    return act


def test_a_code_that_never_left_may_be_used_again(house, broker):
    """The network was down before the connection was made: no new login is needed."""
    service = broker.service(house)
    broker.refresh_with = brings(TemporaryFailure("No network.", "Wait.", request_sent=False))
    with pytest.raises(TemporaryFailure, match=r"No network\. .*was not sent") as caught:
        service.exchange_code(CODE)
    assert caught.value.request_sent is False
    broker.refresh_with = brings(TokenReply(Secret("token"), ist("2026-11-21 03:30")))
    service.exchange_code(CODE)

    assert values(house)["access_token"] == "token"


def test_a_code_whose_reply_was_lost_counts_as_used(house, broker):
    """The broker may have acted on it, so it is not sent again, and the person is told."""
    service = broker.service(house)
    later = timedelta(minutes=3)
    broker.refresh_with = brings(TemporaryFailure("No answer.", "Wait.", retry_after=later))
    with pytest.raises(TemporaryFailure, match=r"No answer\. .*counts as used") as caught:
        service.exchange_code(CODE)
    assert caught.value.retry_after == later
    with pytest.raises(TokenRejected, match="sent before"):
        service.exchange_code(CODE)

    assert broker.asked == ["code mk404x"]


def test_a_link_is_used_up_with_its_code(house, broker):
    """Another code by the same link is not sent."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY)
    service = broker.service(house)
    link = Secret(new_state(Secret(KEY), ist("2026-11-21 03:30")))
    broker.refresh_with = brings(TokenReply(Secret("token"), ist("2026-11-21 03:30")))
    service.exchange_code(CODE, link)
    with pytest.raises(TokenRejected, match="used before"):
        service.exchange_code(Secret("other1"), link)

    assert broker.asked == ["code mk404x"]


def test_a_crash_while_a_code_is_under_way_leaves_it_noted(house, broker):
    """The note is on disk before the request leaves."""
    noted = []

    def look_at_the_disk():
        noted.extend(broker.service(house).look().state.spent_codes)
        raise TemporaryFailure("No answer.")

    broker.refresh_with = look_at_the_disk
    with pytest.raises(TemporaryFailure):
        broker.service(house).exchange_code(CODE)

    assert noted == [CODE.fingerprint]


def test_a_login_without_a_token_still_saves_its_refresh_token(house, broker):
    """A reply that is useless but for its refresh token has that one kept."""
    useless = UselessReply("No token.", "Log in.", refresh_token=Secret("for-later"))
    broker.refresh_with = brings(useless)
    with pytest.raises(UselessReply):
        broker.service(house).exchange_code(CODE)

    assert values(house)["UPSTOX_REFRESH_TOKEN"] == "for-later"
    assert values(house)["access_token"] == ""


def test_another_accounts_login_stores_nothing(house, broker):
    """The `.env` is kept for the account of the first login."""
    house.set(UPSTOX_USER_ID="SIM001")
    before = house.env_file.read_bytes()
    reply = TokenReply(Secret("token"), ist("2026-11-21 03:30"), user_id="OTHER9")
    broker.refresh_with = brings(reply)
    with pytest.raises(TokenRejected, match="OTHER9"):
        broker.service(house).exchange_code(CODE)

    assert house.env_file.read_bytes() == before


def test_a_pasted_token_that_ends_sooner_is_refused(house, broker):
    """A longer-lived token of the same account does not give way by accident."""
    service = broker.service(house)
    broker.refresh_with = brings(TokenReply(Secret("long"), ist("2026-11-21 03:30")))
    service.exchange_code(CODE)
    short = jwt_until(ist("2026-11-20 12:00"))
    with pytest.raises(TokenRejected, match="lives longer"):
        service.accept_pasted(short)

    assert values(house)["access_token"] == "long"


def test_a_shorter_lived_renewal_keeps_the_longer_token_and_the_new_refresh_token(house, broker):
    """The refresh token is spent either way; the better access token stays."""
    service = broker.service(house)
    long = TokenReply(Secret("long"), ist("2026-11-21 03:30"), refresh_token=Secret("first"))
    broker.refresh_with = brings(long)
    service.exchange_code(CODE)
    short = TokenReply(Secret("short"), ist("2026-11-20 12:00"), refresh_token=Secret("second"))
    broker.refresh_with = brings(short)
    service.renew()

    assert values(house)["access_token"] == "long"
    assert values(house)["UPSTOX_REFRESH_TOKEN"] == "second"


def test_a_read_only_token_of_a_year_gives_way(house, broker):
    """A pasted Analytics Token would else keep every trading token out for a year."""
    service = broker.service(house)
    service.accept_pasted(jwt_until(ist("2027-11-20 09:00")))
    broker.refresh_with = brings(TokenReply(Secret("trading"), ist("2026-11-21 03:30")))
    service.exchange_code(CODE)

    assert values(house)["access_token"] == "trading"


def test_nothing_is_sent_without_credentials(house, broker):
    """The code is not spent, so it can be used once they are there."""

    def missing(state=None):
        raise ConfigurationError("Client ID/Secret not found.", "Set them.")

    broker.authorization_url = missing
    with pytest.raises(ConfigurationError):
        broker.service(house).exchange_code(CODE)

    assert broker.asked == []
    assert broker.service(house).look().state.spent_codes == ()


def test_nothing_is_sent_when_the_new_values_could_not_be_read_back(house, broker):
    """A broken line above our key shows before the code is spent, and is named."""
    before = b"NOTE='oops\n" + house.env_file.read_bytes() + b"OTHER='x'\n"
    house.env_file.write_bytes(before)
    with pytest.raises(StoreError, match="line 1"):
        broker.service(house).exchange_code(CODE)

    assert broker.asked == []
    assert house.env_file.read_bytes() == before


REDIRECT = "http://localhost:3000/callback"

PASTED = {
    "the bare code": "mk404x",
    "with blanks and quotes": "  'mk404x' ",
    "the whole address": f"{REDIRECT}?code=mk404x&state=ours",
    "the address without a state": f"{REDIRECT}?code=mk404x",
    "the address with an empty state": f"{REDIRECT}?code=mk404x&state=",
    "more parameters than documented": f"{REDIRECT}?iss=x&state=ours&code=mk404x&y=",
    "the query alone": "code=mk404x&state=ours",
    "an address that a program cut short": "/callback?code=mk404x&state=ours",
}


@pytest.mark.parametrize("text", PASTED.values(), ids=PASTED)
def test_what_people_paste_is_understood(text):
    """The code, or anything that holds it."""
    assert read_code(text, "ours") == CODE


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (f"{REDIRECT}?code=mk404x&state=ours", "ours"),
        (f"{REDIRECT}?state=ours&state=two", "ours"),
        ("?error=access_denied&state=ours", "ours"),
        (f"{REDIRECT}?code=mk404x", None),
        ("mk404x", None),
    ],
)
def test_the_state_in_what_people_paste(text, state):
    """That of a login link tells whose answer it is."""
    assert state_of(text) == state


WRONG = {
    "denied, as a query alone": ("error=access_denied", "access_denied"),
    "another login's": (f"{REDIRECT}?code=mk404x&state=theirs", "another login"),
    "denied": (f"{REDIRECT}?error=access_denied&state=ours", "access_denied"),
    "denied, with a text of somebody's": (f"{REDIRECT}?error=<b>x</b>&state=ours", "an error"),
    "nothing": ("", "No code"),
    "an address without a code": (f"{REDIRECT}?state=ours", "No code"),
    "blanks inside": ("mk 404x", "no code"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_refused(text, words):
    """With a sentence that says why, and nothing of what was pasted in it."""
    with pytest.raises(TokenRejected, match=words) as caught:
        read_code(text, "ours")
    assert "mk404x" not in str(caught.value)
    assert "<b>" not in str(caught.value)


def jwt_until(end):
    """Return a JWT that ends then."""
    from broker_tokens.simulator.minting import Mint

    return Secret(Mint().access_token("SIM001", ist("2026-11-20 08:00"), end))
