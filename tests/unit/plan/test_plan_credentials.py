"""Secrets from files: found, ranked between environment and `.env`, and kept hidden."""

import os
import sys
from datetime import timedelta

import pytest

from broker_tokens.credentials import surroundings
from broker_tokens.errors import ConfigurationError
from broker_tokens.notices import commands
from broker_tokens.secrets import redact
from broker_tokens.settings import load_settings

APP = {"UPSTOX_CLIENT_ID": "file-id", "UPSTOX_CLIENT_SECRET": "file-secret"}
NOTIFIER = "planted-notifier-secret-0042"


@pytest.fixture
def given(tmp_path):
    """Put credentials down as systemd does, and give the environment that names their folder."""

    def put(**credentials):
        for key, text in credentials.items():
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / key).write_bytes(content)
        return {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    return put


def load(environ, values=APP, **options):
    """Return the settings of a process with this environment."""
    return load_settings(values, surroundings(environ), **options)


@pytest.mark.parametrize(
    ("key", "text", "name", "value"),
    [
        ("UPSTOX_CLIENT_ID", "an-id", "client_id", "an-id"),
        ("UPSTOX_API_KEY", "an-id", "client_id", "an-id"),
        ("UPSTOX_CLIENT_SECRET", "planted", "client_secret", "planted"),
        ("UPSTOX_API_SECRET", "planted", "client_secret", "planted"),
        ("UPSTOX_SECRET_KEY", "planted", "client_secret", "planted"),
        ("UPSTOX_NOTIFIER_SECRET", NOTIFIER, "notifier_secret", NOTIFIER),
        ("UPSTOX_NOTIFY_URLS", "ntfy://a\ntgram://b/c", "notify_urls", "ntfy://a tgram://b/c"),
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_each_secret_may_be_a_credential(given, key, text, name, value, end):
    """The file is named like the key and outranks the `.env`; the line's end is not part of it."""
    found = getattr(load(given(**{key: text + end})), name)
    parts = found if isinstance(found, tuple) else (found,)

    assert " ".join(getattr(part, "reveal", lambda: found)() for part in parts) == value


def test_the_environment_outranks_a_credential(given):
    """Under whatever name: a variable counts first, then the file, then the `.env`."""
    environ = given(UPSTOX_CLIENT_ID="credential-id", UPSTOX_CLIENT_SECRET="credential-secret")
    for name in ("UPSTOX_CLIENT_ID", "UPSTOX_API_KEY"):
        settings = load({**environ, name: "variable-id"})

        assert settings.client_id == "variable-id"
        assert settings.client_secret.reveal() == "credential-secret"


def test_an_empty_variable_hides_no_credential(given):
    """As it hides nothing of the `.env`."""
    environ = given(UPSTOX_CLIENT_ID="credential-id")

    assert load({**environ, "UPSTOX_CLIENT_ID": " "}).client_id == "credential-id"


def test_with_credentials_alone_the_app_is_configured(given):
    """The `.env` need not hold client ID and secret at all."""
    environ = given(UPSTOX_CLIENT_ID="an-id\n", UPSTOX_CLIENT_SECRET="planted\n")

    assert load(environ, {}, need_credentials=True).has_credentials


def test_other_keys_and_tokens_are_no_credentials(given):
    """What is no secret stands in the `.env`, and so do the tokens, which change every day."""
    environ = given(UPSTOX_SESSION="10:00-11:00", access_token="planted-token")

    assert load(environ).hours.opens.hour == 9
    assert "access_token" not in surroundings(environ)


@pytest.mark.parametrize(
    "environ", [{}, {"CREDENTIALS_DIRECTORY": ""}, {"CREDENTIALS_DIRECTORY": "/nowhere/at/all"}]
)
def test_without_credentials_the_file_counts(environ):
    """A process without credentials is configured as ever."""
    assert load(environ).client_id == "file-id"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\x00a", "is not text"),
        (b"planted\0planted", "is not text"),
        (b"planted" * 10_000, "is larger than 64 KiB"),
    ],
)
def test_a_credential_that_is_none_is_named(given, content, why):
    """The message names the file and the reason, and nothing of what is in it."""
    environ = given(UPSTOX_CLIENT_SECRET=content)
    with pytest.raises(ConfigurationError) as caught:
        surroundings(environ)

    path = os.path.join(environ["CREDENTIALS_DIRECTORY"], "UPSTOX_CLIENT_SECRET")
    assert f"{path} {why}" in caught.value.cause
    assert "planted" not in str(caught.value)


def test_a_credential_that_cannot_be_read_is_named(given):
    """A folder in its place, or a file of root's: the path and the system's own words."""
    environ = given()
    os.mkdir(os.path.join(environ["CREDENTIALS_DIRECTORY"], "UPSTOX_CLIENT_ID"))

    with pytest.raises(ConfigurationError, match="UPSTOX_CLIENT_ID cannot be read"):
        surroundings(environ)


def test_a_wrong_value_is_blamed_on_its_file(given):
    """Who corrects the `.env` instead would look for the fault for long."""
    environ = given(UPSTOX_CLIENT_SECRET="planted secret")
    with pytest.raises(ConfigurationError) as caught:
        load(environ, source="/some/.env")

    place = os.path.join(environ["CREDENTIALS_DIRECTORY"], "UPSTOX_CLIENT_SECRET")
    assert f"UPSTOX_CLIENT_SECRET (of {place}, which outranks the file): has a blank" in str(
        caught.value
    )
    assert caught.value.advice.startswith("Correct it there (")


def test_each_fault_is_sent_to_its_place(given):
    """One wrong value in a credential and one in the file: there and here."""
    with pytest.raises(ConfigurationError) as caught:
        load(given(UPSTOX_CLIENT_ID="a b"), {**APP, "UPSTOX_SESSION": "x"}, source="/some/.env")

    assert caught.value.advice.startswith("Correct them there and in /some/.env (")


def test_a_credential_is_redacted(given):
    """From the moment it is read, and each address of several by itself."""
    environ = surroundings(
        given(
            UPSTOX_CLIENT_SECRET="planted-secret\n",
            UPSTOX_NOTIFY_URLS="tgram://planted/one, ntfy://planted/two\n",
        )
    )
    text = redact("at planted-secret, tgram://planted/one and ntfy://planted/two")

    assert "planted" not in text
    assert environ["UPSTOX_CLIENT_SECRET"] == "planted-secret"


def test_commands_get_no_credential(given, tmp_path):
    """What is started inherits the variables, but neither credentials nor where they are."""
    environ = given(UPSTOX_CLIENT_ID="planted-id", UPSTOX_CLIENT_SECRET="planted-secret")
    seen = tmp_path / "seen"
    program = f"import os, pathlib; pathlib.Path({str(seen)!r}).write_text(str(os.environ))"
    finished = commands.run(
        [sys.executable, "-c", program],
        environ=surroundings({**os.environ, **environ, "KEPT": "yes"}),
        extra={},
        limit=timedelta(seconds=60),
        hide=str,
    )

    assert finished.problem == ""
    assert "'KEPT': 'yes'" in seen.read_text(encoding="utf-8")
    assert "planted" not in seen.read_text(encoding="utf-8")
    assert "CREDENTIALS_DIRECTORY" not in seen.read_text(encoding="utf-8")


def test_the_surroundings_are_a_whole_mapping(given):
    """Every name is there once, whoever walks through it."""
    environ = {**given(UPSTOX_CLIENT_ID="an-id"), "UPSTOX_API_KEY": "another"}
    found = surroundings(environ)

    assert dict(found) == {**environ, "UPSTOX_CLIENT_ID": "an-id"}
    assert len(found) == len(dict(found))
    assert surroundings(found) is found
