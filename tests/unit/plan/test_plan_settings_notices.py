"""Settings of the notifier, the channels and the user's commands; what is secret never shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.plan.looks import APP
from unit.plan.moments import many

from broker_tokens.errors import ConfigurationError
from broker_tokens.secrets import redact
from broker_tokens.settings import Settings, load_settings


def given_as(key: str, text: str) -> Settings:
    return load_settings({**APP, key: text}, {})


def refusal(key: str, text: str) -> str:
    """Return what is said of a value, which is never the value itself."""
    with pytest.raises(ConfigurationError) as caught:
        given_as(key, text)
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert "s3cret" not in message
    return message


TELEGRAM = "tgram://123:planted-s3cret/456"
MAIL = "mailtos://me:planted-s3cret@mail.example?to=a@b.example,c@d.example&smtp=x.example"
NTFY = "ntfys://topic"
ADDRESSES = {
    "none": ("", []),
    "one": (TELEGRAM, [TELEGRAM]),
    "several": (f"{TELEGRAM},{NTFY},{MAIL}", [TELEGRAM, NTFY, MAIL]),
    "with blanks and line ends": (f" {TELEGRAM} ,\n {NTFY}\t", [TELEGRAM, NTFY]),
    "parted by blanks alone": (f"{TELEGRAM} {NTFY}", [TELEGRAM, NTFY]),
    "commas inside an address": (f"{MAIL},{NTFY}", [MAIL, NTFY]),
    "commas inside two": (f"{MAIL},{MAIL}", [MAIL, MAIL]),
    "a comma too many": (f"{NTFY},,{TELEGRAM}", [NTFY, TELEGRAM]),
    "a scheme with a plus": (f"{NTFY},fcm+x-1.y://z", [NTFY, "fcm+x-1.y://z"]),
}


@pytest.mark.parametrize(("text", "addresses"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_addresses_of_the_channels_are(text, addresses):
    """A comma parts two where the next one's scheme follows it, and belongs to one elsewhere."""
    urls = given_as("UPSTOX_NOTIFY_URLS", text).notify_urls

    assert [url.reveal() for url in urls] == addresses


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("planted-s3cret", 1),
        ("mailto:me:planted-s3cret@mail.example", 1),
        ("://planted-s3cret", 1),
        ("ntfy://", 1),
        (f"planted-s3cret,{NTFY}", 1),
        (f"{NTFY},ntfy://,{TELEGRAM}", 2),
        ("5gram://planted-s3cret", 1),
    ],
)
def test_what_is_no_address_is_named_by_its_place(text, place):
    """It may hold a password, so it is not repeated."""
    assert f"address {place} " in refusal("UPSTOX_NOTIFY_URLS", text)


@pytest.mark.parametrize(
    "secret",
    ["k" * 22, "k" * 43, "k" * 128, "A0-_" * 8],
    ids=["shortest", "ours", "longest", "all"],
)
def test_a_notifiers_secret_is_one_long_part_of_a_path(secret):
    """What `upstox-token notifier` makes, or something as long of the same characters."""
    found = given_as("UPSTOX_NOTIFIER_SECRET", secret).notifier_secret

    assert found is not None
    assert found.reveal() == secret


@pytest.mark.parametrize(
    "secret",
    [
        *("k" * 21, "k" * 129, "planted-s3cret", "planted/s3cret/planted/s3cret"),
        *("planted-s3cret-planted s3cret", "planted-s3cr\u00e9t-planted-s3cret", "k" * 22 + "\0"),
        *("../planted-s3cret-planted-s3cret", "planted-s3cret-planted-s3cret?", "\u0967" * 30),
    ],
)
def test_any_other_notifiers_secret_is_refused(secret):
    """Said with the way to a new one."""
    assert "upstox-token notifier" in refusal("UPSTOX_NOTIFIER_SECRET", secret)


@pytest.mark.parametrize(
    ("text", "name"),
    [("NSE", "NSE"), ("nse", "NSE"), (" Mcx ", "MCX"), ("NSCOM", "NSCOM"), ("BFO", "BFO")],
)
def test_an_exchange_is_read_in_any_letters(text, name):
    """Its holidays are those that count."""
    assert given_as("UPSTOX_EXCHANGE", text).exchange == name


@pytest.mark.parametrize(
    "text", ["N", "NSE,BSE", "NSE BSE", "N5E", "../NSE", "N\u015aE", "NSE" * 3]
)
def test_what_is_no_exchange_is_refused(text):
    """It becomes a part of an address, so it is letters alone."""
    assert "exchange" in refusal("UPSTOX_EXCHANGE", text)


COMMANDS = ["UPSTOX_NOTIFY_COMMAND", "UPSTOX_ON_RENEW"]


@pytest.mark.parametrize("key", COMMANDS)
@pytest.mark.parametrize(
    "text",
    ["bot.sh", "/home/me/my\\ bot.sh --now", "sh -c 'echo \"it is renewed\" >> log'", "a; b && c"],
)
def test_a_command_is_kept_as_it_was_written(key, text):
    """How it is taken apart is the affair of whoever runs it."""
    name = {"UPSTOX_NOTIFY_COMMAND": "notify_command", "UPSTOX_ON_RENEW": "on_renew"}[key]

    assert getattr(given_as(key, text), name) == text


@pytest.mark.parametrize("key", COMMANDS)
@pytest.mark.parametrize(
    "text", ["say 'planted-s3cret", 'say "planted-s3cret', "planted-s3cret\\", "s3cret\0"]
)
def test_a_command_that_cannot_be_taken_apart_is_refused(key, text):
    """At the start, not on the morning it is needed; a password in it is not repeated."""
    assert "is no command line" in refusal(key, text)


def test_the_settings_print_without_channels_and_notifiers_secrets():
    """Neither repr nor a log line gives one away."""
    values = {**APP, "UPSTOX_NOTIFY_URLS": TELEGRAM, "UPSTOX_NOTIFIER_SECRET": "planted-s3cret" * 3}
    settings = load_settings(values, {})

    assert "s3cret" not in repr(settings) + str(settings)
    assert "s3cret" not in redact(f"{values['UPSTOX_NOTIFY_URLS']}")
    assert "s3cret" not in redact(f"POST /notifier/{values['UPSTOX_NOTIFIER_SECRET']}")


@many
@given(st.lists(st.sampled_from([TELEGRAM, MAIL, NTFY, "json://h/p?a=1,2"]), max_size=6))
def test_any_list_of_addresses_is_read_back(addresses):
    """Joined by commas, parted again."""
    urls = given_as("UPSTOX_NOTIFY_URLS", ",".join(addresses)).notify_urls

    assert [url.reveal() for url in urls] == addresses
