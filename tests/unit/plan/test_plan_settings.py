"""Settings: what is read from where, what is refused, and that no secret shows."""

from datetime import time

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from broker_tokens.calendar import SessionHours
from broker_tokens.errors import EXIT_CONFIGURATION, ConfigurationError
from broker_tokens.model import Way
from broker_tokens.secrets import Secret
from broker_tokens.setting_values import parse_time
from broker_tokens.settings import load_settings, read_settings

APP = {"UPSTOX_CLIENT_ID": "an-id", "UPSTOX_CLIENT_SECRET": "planted-s3cret"}


def refusal(values: dict, environ: dict | None = None, **options) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**APP, **values}, environ or {}, **options)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert caught.value.advice
    return str(caught.value)


def test_an_app_is_all_that_must_be_configured():
    """Everything else has the documented default."""
    settings = load_settings(APP, {}, need_credentials=True)

    assert (settings.client_id, settings.client_secret.reveal()) == ("an-id", "planted-s3cret")
    assert settings.redirect_uri == "http://localhost:3000/callback"
    assert settings.api_url == "https://api.upstox.com"
    assert settings.ways == (Way.REFRESH_GRANT, Way.PHONE_APPROVAL, Way.BROWSER_LOGIN)
    assert (settings.refresh_time, settings.approval_time) == (time(2), time(8))
    assert settings.hours == SessionHours(time(9), time(15, 30))
    assert settings.exchange == "NSE"
    assert (settings.notifier_secret, settings.notify_urls) == (None, ())
    assert (settings.notify_command, settings.on_renew) == ("", "")
    assert settings.has_credentials


GIVEN = {
    "UPSTOX_CLIENT_ID": ("other", "client_id", "other"),
    "UPSTOX_REDIRECT_URI": (
        "https://me.example/back?to=1", "redirect_uri", "https://me.example/back?to=1"),
    "UPSTOX_API_URL": ("https://proxy.example/upstox/", "api_url", "https://proxy.example/upstox"),
    "UPSTOX_RENEWAL": ("browser_login", "ways", (Way.BROWSER_LOGIN,)),
    "UPSTOX_REFRESH_TIME": ("23:05", "refresh_time", time(23, 5)),
    "UPSTOX_APPROVAL_TIME": ("07:45", "approval_time", time(7, 45)),
    "UPSTOX_SESSION": ("09:00-23:55", "hours", SessionHours(time(9), time(23, 55))),
    "UPSTOX_EXCHANGE": ("mcx", "exchange", "MCX"),
    "UPSTOX_NOTIFIER_SECRET": ("k" * 43, "notifier_secret", Secret("k" * 43)),
    "UPSTOX_NOTIFY_URLS": ("ntfy://topic", "notify_urls", (Secret("ntfy://topic"),)),
    "UPSTOX_NOTIFY_COMMAND": (
        "/usr/bin/say --to 'me and you'", "notify_command", "/usr/bin/say --to 'me and you'"),
    "UPSTOX_ON_RENEW": ("systemctl restart bot", "on_renew", "systemctl restart bot"),
}  # fmt: skip


@pytest.mark.parametrize("key", GIVEN)
def test_each_key_is_read_from_the_file_and_first_from_the_environment(key):
    """The environment outranks the file; an empty or blank value there does not."""
    text, name, value = GIVEN[key]

    assert getattr(load_settings({**APP, key: text}, {}), name) == value
    assert getattr(load_settings({**APP, key: "'wrong:\0"}, {key: text}), name) == value
    for nothing in ("", "  ", "\t"):
        assert getattr(load_settings({**APP, key: text}, {key: nothing}), name) == value
    assert getattr(load_settings({**APP, key: f"  {text} "}, {}), name) == value


@pytest.mark.parametrize("id_key", ["UPSTOX_CLIENT_ID", "UPSTOX_API_KEY"])
@pytest.mark.parametrize(
    "secret_key", ["UPSTOX_CLIENT_SECRET", "UPSTOX_API_SECRET", "UPSTOX_SECRET_KEY"]
)
def test_the_names_that_other_tools_use_are_read_too(id_key, secret_key):
    """In the file and in the environment, in any mixture."""
    for values, environ in (
        ({id_key: "i", secret_key: "s"}, {}),
        ({}, {id_key: "i", secret_key: "s"}),
        ({id_key: "i"}, {secret_key: "s"}),
        ({**APP}, {id_key: "i", secret_key: "s"}),
    ):
        settings = load_settings(values, environ, need_credentials=True)
        assert (settings.client_id, settings.client_secret.reveal()) == ("i", "s")


def test_our_own_name_outranks_the_other_tools_name_in_the_same_place():
    """Two names in one file: the documented one counts, unless it is blank."""
    other = {"UPSTOX_API_KEY": "theirs"}

    assert load_settings({**APP, **other}, {}).client_id == "an-id"
    assert load_settings({**other, "UPSTOX_CLIENT_ID": " "}, {}).client_id == "theirs"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "UPSTOX_CLIENT_ID and UPSTOX_CLIENT_SECRET"),
        ({"UPSTOX_CLIENT_ID": "i"}, "UPSTOX_CLIENT_SECRET"),
        ({"UPSTOX_API_SECRET": "s"}, "UPSTOX_CLIENT_ID"),
        ({"UPSTOX_CLIENT_ID": "", "UPSTOX_CLIENT_SECRET": "  "}, "and"),
    ],
)
def test_missing_credentials_are_said_in_the_words_users_search_for(values, named):
    """The message begins so, names the keys and the file."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(values, {}, source="/some/.env", need_credentials=True)

    assert str(caught.value).startswith("Client ID/Secret not found: ")
    assert named in caught.value.cause
    assert "/some/.env" in caught.value.cause


def test_missing_credentials_are_no_error_where_a_token_is_only_read():
    """A strategy's machine need not hold the secret."""
    settings = load_settings({}, {})

    assert not settings.has_credentials
    assert not load_settings({"UPSTOX_CLIENT_ID": "i"}, {}).has_credentials


def test_every_wrong_key_is_named_at_once():
    """One run of the program tells all that has to be mended."""
    wrong = {
        "UPSTOX_CLIENT_ID": "an id",
        "UPSTOX_CLIENT_SECRET": "",
        "UPSTOX_REDIRECT_URI": "localhost",
        "UPSTOX_API_URL": "http://evil.example",
        "UPSTOX_RENEWAL": "refresh",
        "UPSTOX_REFRESH_TIME": "2am",
        "UPSTOX_APPROVAL_TIME": "03:30",
        "UPSTOX_SESSION": "15:30-09:00",
        "UPSTOX_EXCHANGE": "N S E",
        "UPSTOX_NOTIFIER_SECRET": "short",
        "UPSTOX_NOTIFY_URLS": "no-address",
        "UPSTOX_NOTIFY_COMMAND": "say 'never closed",
        "UPSTOX_ON_RENEW": 'say "never closed',
    }

    text = refusal(wrong, need_credentials=True)

    assert [key for key in wrong if key not in text] == []
    assert text.startswith("Client ID/Secret not found")


def test_a_default_stands_in_for_what_is_wrong():
    """Whoever examines a broken file goes on with the rest of it, and knows what was wrong."""
    reading = read_settings({**APP, "UPSTOX_SESSION": "noon", "UPSTOX_EXCHANGE": "MCX"}, {})
    fine = read_settings(APP, {})

    assert reading.settings.hours == SessionHours()
    assert reading.settings.exchange == "MCX"
    assert reading.wrong_keys == {"UPSTOX_SESSION"}
    assert "UPSTOX_SESSION" in str(reading.complaint)
    assert (fine.wrong_keys, fine.complaint) == (frozenset(), None)


API_URLS = {
    "https://api.upstox.com": True,
    "https://api.upstox.com/": True,
    "HTTPS://API.UPSTOX.COM": True,
    "https://proxy.example:8443/upstox": True,
    "http://127.0.0.1:8787": True,
    "http://localhost:8787": True,
    "http://LOCALHOST": True,
    "http://[::1]:8787": True,
    "http://evil.example": False,
    "http://api.upstox.com": False,
    "http://localhost.evil.example": False,
    "http://127.0.0.1.evil.example": False,
    "http://evil.example/127.0.0.1": False,
    "http://localhost@evil.example": False,
    "https://user:planted-s3cret@api.upstox.com": False,
    "https://@api.upstox.com": False,
    "http://evil.example\\@localhost": False,
    "http://localhost\\.evil.example": False,
    "http://localhost#@evil.example": False,
    "http://localhost?@evil.example": False,
    "https://api.upstox.com?": False,
    "https://api.upstox.com#": False,
    "https://api.upstox.com/?key=planted-s3cret": False,
    "https://api .upstox.com": False,
    "https://api.up\tstox.com": False,
    "https://api.up\nstox.com": False,
    "https://\u0430pi.upstox.com": False,  # a Cyrillic letter
    "https://host:planted-s3cret": False,
    "https://host:99999": False,
    "https://[planted-s3cret": False,
    "https://": False,
    "https://:8787": False,
    "//api.upstox.com": False,
    "api.upstox.com": False,
    "ftp://localhost": False,
    "file:///etc/passwd": False,
    "javascript:alert(1)": False,
    "http://0.0.0.0:8787": False,
    "http://2130706433": False,
}


@pytest.mark.parametrize("url", API_URLS)
def test_the_secret_is_sent_to_https_or_to_this_machine_only(url):
    """Anything else, or anything ambiguous, is refused without being repeated."""
    if API_URLS[url]:
        assert load_settings({**APP, "UPSTOX_API_URL": url}, {}).api_url == url.rstrip("/")
    else:
        text = refusal({"UPSTOX_API_URL": url})
        assert "UPSTOX_API_URL: must be an https address" in text
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("UPSTOX_REDIRECT_URI", "localhost:3000/callback"),
        ("UPSTOX_REDIRECT_URI", "ftp://localhost/callback"),
        ("UPSTOX_REDIRECT_URI", "http:///callback"),
        ("UPSTOX_REDIRECT_URI", "http://localhost:port/callback"),
        ("UPSTOX_REDIRECT_URI", "http://localhost/callback#part"),
        ("UPSTOX_RENEWAL", "paste"),
        ("UPSTOX_RENEWAL", "found"),
        ("UPSTOX_RENEWAL", ","),
        ("UPSTOX_RENEWAL", "refresh_grant,telepathy"),
        ("UPSTOX_REFRESH_TIME", "24:00"),
        ("UPSTOX_REFRESH_TIME", "2:00"),
        ("UPSTOX_REFRESH_TIME", "02:60"),
        ("UPSTOX_REFRESH_TIME", "0200"),
        ("UPSTOX_REFRESH_TIME", "02:00:00"),
        ("UPSTOX_REFRESH_TIME", "0\u0968:00"),  # a Devanagari digit
        ("UPSTOX_APPROVAL_TIME", "03:30"),
        ("UPSTOX_APPROVAL_TIME", "00:00"),
        ("UPSTOX_SESSION", "09:00"),
        ("UPSTOX_SESSION", "09:00-"),
        ("UPSTOX_SESSION", "09:00-24:00"),
        ("UPSTOX_SESSION", "09:00-09:00"),
        ("UPSTOX_SESSION", "18:00-02:00"),
        ("UPSTOX_SESSION", "03:00-15:30"),
        ("UPSTOX_SESSION", "09:00\u201315:30"),  # a dash of typography
        ("UPSTOX_CLIENT_ID", "your client id"),
        ("UPSTOX_CLIENT_SECRET", "planted s3cret"),
        ("UPSTOX_API_SECRET", "s3cr\u00e9t"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(key, text):
    """What cannot be meant is said before anything is sent."""
    values = {key: text}
    if key == "UPSTOX_API_SECRET":
        values["UPSTOX_CLIENT_SECRET"] = ""

    message = refusal(values)

    assert f"{key}: " in message
    assert "s3cret" not in message
    assert "s3cr\u00e9t" not in message


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("refresh_grant", (Way.REFRESH_GRANT,)),
        (" browser_login , refresh_grant ", (Way.BROWSER_LOGIN, Way.REFRESH_GRANT)),
        ("refresh_grant,refresh_grant,", (Way.REFRESH_GRANT,)),
    ],
)
def test_the_ways_are_a_list_in_order(text, ways):
    """Blanks and repetitions do not matter."""
    assert load_settings({**APP, "UPSTOX_RENEWAL": text}, {}).ways == ways


def test_the_command_lines_time_outranks_all():
    """Midnight included, and a wrong value below it is not looked at."""
    for at in (time(10, 0), time(0, 0)):
        settings = load_settings(
            {**APP, "UPSTOX_REFRESH_TIME": "never"}, {"UPSTOX_REFRESH_TIME": "?"}, refresh_time=at
        )
        assert settings.refresh_time == at


@budget(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.times())
def test_every_clock_time_is_read_back(at):
    """HH:MM, blanks around it aside."""
    assert parse_time(f" {at:%H:%M} ") == at.replace(second=0, microsecond=0, fold=0)


@budget(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(sorted(GIVEN)), st.text())
def test_no_text_whatever_raises_anything_else(key, text):
    """A setting is good, or a ConfigurationError that names it."""
    complaint = key
    try:
        load_settings({**APP, key: text}, {})
    except ConfigurationError as error:
        complaint = str(error)

    assert key in complaint


def test_the_settings_print_without_the_secret():
    """Neither its repr nor the fingerprint of the credentials gives it away."""
    settings = load_settings(APP, {})

    assert "s3cret" not in repr(settings) + str(settings) + settings.credentials_fingerprint


def test_credentials_are_told_apart_by_every_part():
    """A refusal is forgotten once anything the broker judged has changed."""
    changes = [
        {},
        {"UPSTOX_CLIENT_ID": "x"},
        {"UPSTOX_CLIENT_SECRET": "x"},
        {"UPSTOX_REDIRECT_URI": "http://localhost:1/"},
        {"UPSTOX_API_URL": "https://x.example"},
    ]

    prints = {load_settings({**APP, **c}, {}).credentials_fingerprint for c in changes}

    assert len(prints) == len(changes)
