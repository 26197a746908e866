"""Wrong keys, files and disks: each is named, nothing is sent, `.env` stays as it was."""

import pytest
from dotenv import dotenv_values
from support.doors import (
    CLIENT_SECRET,
    ONCE,
    ROOT,
    SERVICE,
    TOKEN,
    assert_one_clear_message,
    can_be_powerless,
    consent,
)


def test_no_env(tmp_path, doors):
    """A `.env` that is not there is configuration, and its path is named."""
    ended = doors.run(*ONCE, "--env-file", str(tmp_path / "none.env"))

    assert ended.code == 78
    assert_one_clear_message(ended, str(tmp_path / "none.env"))


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"UPSTOX_CLIENT_ID": None}, ["UPSTOX_CLIENT_ID"]),
        ({"UPSTOX_CLIENT_ID": ""}, ["UPSTOX_CLIENT_ID"]),
        ({"UPSTOX_CLIENT_SECRET": None}, ["UPSTOX_CLIENT_SECRET"]),
        ({"UPSTOX_CLIENT_SECRET": ""}, ["UPSTOX_CLIENT_SECRET"]),
        ({"UPSTOX_REFRESH_TIME": "25:00"}, ["UPSTOX_REFRESH_TIME", "25:00"]),
        ({"UPSTOX_API_URL": "http://api.upstox.com"}, ["UPSTOX_API_URL", "https"]),
        (
            {
                "UPSTOX_CLIENT_ID": "",
                "UPSTOX_CLIENT_SECRET": "",
                "UPSTOX_APPROVAL_TIME": "3am",
                "UPSTOX_SESSION": "15:30-09:00",
                "UPSTOX_RENEWAL": "prayer",
                "UPSTOX_REDIRECT_URI": "callback",
            },
            [
                *("UPSTOX_CLIENT_ID", "UPSTOX_CLIENT_SECRET", "UPSTOX_APPROVAL_TIME"),
                *("UPSTOX_SESSION", "UPSTOX_RENEWAL", "UPSTOX_REDIRECT_URI"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("mode", [ONCE, SERVICE])
def test_bad_configuration(doors, keys, named, mode):
    """Every wrong key is named at once, by `--once` and by the daemon, which does not start."""
    doors.write(**keys)
    before = doors.env_file.read_bytes()
    ended = doors.run(*mode)

    assert ended.code == 78
    assert_one_clear_message(ended, named[0])
    assert all(word in ended.err for word in named)
    assert doors.env_file.read_bytes() == before


def test_credentials_missing_by_the_text_people_look_up(doors):
    """The message begins with `Client ID/Secret not found`."""
    doors.write(UPSTOX_CLIENT_ID=None, UPSTOX_CLIENT_SECRET=None)

    assert doors.run(*ONCE).err.startswith("Client ID/Secret not found")


@pytest.mark.parametrize(
    "keys", ["UPSTOX_API_KEY UPSTOX_API_SECRET", "UPSTOX_API_KEY UPSTOX_SECRET_KEY"]
)
def test_other_names_of_the_credentials(rotating, keys):
    """The names that other tools use are taken too."""
    rotating.log_in()
    key, secret = keys.split()
    token = rotating.values["UPSTOX_REFRESH_TOKEN"]
    rotating.write(UPSTOX_CLIENT_ID=None, UPSTOX_CLIENT_SECRET=None, UPSTOX_REFRESH_TOKEN=token)
    rotating.set(**{key: "sim-client", secret: CLIENT_SECRET})

    assert rotating.run(*ONCE).code == 0
    assert rotating.broker.is_live(rotating.values["access_token"])


def test_settings_of_the_environment_come_first(due):
    """The process environment outranks the `.env` for settings."""
    ended = due.run(*ONCE, environ={"UPSTOX_REFRESH_TIME": "25:00"})

    assert ended.code == 78
    assert "UPSTOX_REFRESH_TIME" in ended.err


def test_tokens_of_the_environment_are_yesterdays(doors):
    """A token in the process environment counts for nothing."""
    environ = {"access_token": "x" * 9, "UPSTOX_REFRESH_TOKEN": "y" * 9}
    ended = doors.run(*ONCE, "--force", environ=environ)

    assert ended.code == 77
    assert ended.err.startswith("Refresh token not found")


@pytest.mark.parametrize("arguments", [("--time", "25:00"), ("--time", "2am"), ("--never",)])
def test_wrong_usage(doors, arguments):
    """A wrong command line is wrong usage, and names what is wrong."""
    ended = doors.run(*ONCE, *arguments)

    assert ended.code == 2
    assert arguments[-1] in ended.err


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o000, 0o755), (0o400, 0o555), (0o600, 0o555)]
)
def test_a_file_that_cannot_be_read_or_written(due, file_mode, folder_mode):
    """Without the right to read or write, nothing is sent and the path is named."""
    before = due.env_file.read_bytes()
    due.env_file.chmod(file_mode)
    due.folder.chmod(folder_mode)
    try:
        ended = due.run(*ONCE, powerless=True)
    finally:
        due.folder.chmod(0o755)
        due.env_file.chmod(0o600)

    assert ended.code == 78
    assert str(due.folder) in ended.err
    assert due.broker.count(TOKEN) == 0
    assert due.env_file.read_bytes() == before


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
def test_a_code_is_not_spent_on_a_file_that_cannot_be_written(doors):
    """A login on a read-only folder is refused before the code is sent."""
    before = doors.env_file.read_bytes()
    address = consent(doors.manager().get_authorization_url())
    doors.folder.chmod(0o555)
    try:
        ended = doors.run(
            str(ROOT / "init_tokens.py"), "--no-browser", stdin=address + "\n", powerless=True
        )
    finally:
        doors.folder.chmod(0o755)

    assert ended.code == 78
    assert doors.broker.count(TOKEN) == 0
    assert doors.env_file.read_bytes() == before


FULL_DISK = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_no_room_to_write(due):
    """When no byte can be written, nothing is sent, the `.env` stays, and it may pass."""
    before = due.env_file.read_bytes()
    # Without the coverage of subprocesses, which would want to write too.
    ended = due.run("-c", FULL_DISK, *ONCE, environ={"COVERAGE_PROCESS_CONFIG": ""})

    assert ended.code in (75, 78)
    assert due.broker.count(TOKEN) == 0
    assert due.env_file.read_bytes() == before


def test_a_broken_line_in_the_file(rotating):
    """An unterminated quote above does not swallow the token, and stays as it is."""
    rotating.log_in()
    rotating.set(access_token="")
    text = "BROKEN='oops\n" + rotating.env_file.read_text(encoding="utf-8")
    rotating.env_file.write_text(text, encoding="utf-8")
    ended = rotating.run(*ONCE)
    read = dotenv_values(rotating.env_file, interpolate=False)

    assert ended.code == 0
    assert rotating.broker.is_live(read["access_token"])
    assert rotating.env_file.read_text(encoding="utf-8").startswith("BROKEN='oops\n")
