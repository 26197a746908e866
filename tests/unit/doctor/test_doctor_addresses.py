"""The redirect address and the notifier's: the traps that others have stepped into."""

import pytest

from broker_tokens.attendance import Attendance


@pytest.mark.parametrize(
    ("uri", "level", "words"),
    [
        ("http://localhost:3000/callback", "ok", "to the letter"),
        ("http://127.0.0.1:3000/callback", "ok", "to the letter"),
        ("https://trader.example.com/callback", "ok", "to the letter"),
        ("http://localhost:3000", "ok", "to the letter"),
        ("http://localhost:0/callback", "fail", "port 0"),
        ("http://localhost/callback", "warn", "root alone"),
        ("http://localhost:80/callback", "warn", "root alone"),
        ("http://trader.example.com/callback", "warn", "plain http"),
        ("https://trader.example.com/callback/", "warn", "slash"),
        ("https://trader.example.com/callback.php", "warn", "block"),
    ],
)
def test_the_redirect_address(house, tell, uri, level, words):
    """A trap is told with the way around it; what cannot work at all is a failure."""
    house.set(UPSTOX_REDIRECT_URI=uri)
    told = tell(is_offline=True)

    assert told["redirect"] == level
    assert words in told.words("redirect")


def test_what_is_secret_in_an_address_is_not_shown(house, tell):
    """Neither a password nor a query."""
    house.set(UPSTOX_REDIRECT_URI="https://me:planted-pw@trader.example.com/cb?key=planted-key")
    told = tell(is_offline=True)

    assert "https://trader.example.com/cb?..." in told.words("redirect")
    assert not [each for each in told.findings if "planted" in each.words + each.remedy]


SECRET = "n" * 43


@pytest.mark.parametrize(
    ("keys", "listens_at", "level", "words"),
    [
        ({}, "", "ok", "not set up"),
        ({"UPSTOX_RENEWAL": "browser_login"}, "", None, ""),
        ({"UPSTOX_NOTIFIER_SECRET": SECRET}, "", "warn", "no service listens"),
        ({"UPSTOX_NOTIFIER_SECRET": SECRET}, "127.0.0.1:8765", "ok", ".../notifier/..."),
    ],
)
def test_the_notifier(house, tell, keys, listens_at, level, words):
    """It is an option; set up, it needs a service that listens. Its secret part is not shown."""
    house.set(**keys)
    told = tell(attendance=lambda _: Attendance(1, listens_at, None))

    assert told["notifier"] == level
    assert words in told.words("notifier")
    assert SECRET not in told.words("notifier")


@pytest.mark.parametrize(
    ("redirect", "level", "words"),
    [
        ("https://trader.example.com/cb", "ok", "https://trader.example.com/notifier/..."),
        ("http://trader.example.com/cb", "fail", "cannot reach trader.example.com over https"),
        ("https://10.0.0.7/cb", "fail", "cannot reach 10.0.0.7"),
        ("https://8.8.8.8/cb", "warn", "bare number"),
        ("https://me:planted@trader.example.com/cb", "ok", "https://trader.example.com/notifier/"),
    ],
)
def test_the_notifier_address_must_be_public(house, tell, redirect, level, words):
    """As far as its name tells; for the real broker, who delivers over the internet."""
    house.set(
        UPSTOX_REDIRECT_URI=redirect,
        UPSTOX_NOTIFIER_SECRET=SECRET,
        UPSTOX_API_URL="https://api.upstox.com",
    )
    told = tell(is_offline=True, attendance=lambda _: Attendance(1, "127.0.0.1:8765", None))

    assert told["notifier"] == level
    assert words in told.words("notifier")
    assert "planted" not in told.words("notifier")


def test_a_refused_approval_is_shown(house, tell):
    """The broker's reason for asking no phone is part of the report."""
    house.set(UPSTOX_NOTIFIER_SECRET=SECRET)
    house.log_in()
    house.set(access_token="")
    house.clock.advance(hours=2)
    house.service(is_listening=True).tick()  # the simulator knows no notifier address: UDAPI1123
    told = tell(attendance=lambda _: Attendance(1, "127.0.0.1:8765", None))

    assert told["notifier"] == "warn"
    assert "UDAPI1123" in told.words("notifier")
