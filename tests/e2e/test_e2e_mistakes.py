"""What a newcomer does on the first day, and what is said to it."""

import subprocess
import sys

import pytest
from support.doors import INIT, ONCE, PASTE, ROOT, SERVICE, TOKEN, UPSTOX_TOKEN


def test_a_token_on_the_command_line_is_not_repeated(doors):
    """Others can see a command line, so nothing is taken from it, and nothing shown of it."""
    ended = doors.run(*PASTE, "SECRETTOKENARGUMENT")

    assert ended.code == 2
    assert "paste it when asked" in ended.err
    assert "SECRETTOKEN" not in ended.said


def test_an_address_pasted_as_a_token(doors):
    """It is not sent to the broker as one."""
    ended = doors.run(*PASTE, stdin="http://localhost:3000/callback?code=x&state=y\n")

    assert ended.code == 77
    assert "is an address" in ended.err
    assert doors.broker.arrived == []


def test_a_check_that_finds_a_dead_token_is_believed_by_all(doors):
    """After `check` has seen the refusal, no command calls the token live."""
    doors.broker.revoke(doors.log_in())
    checked = doors.run(*UPSTOX_TOKEN, "check")
    shown = doors.run(*UPSTOX_TOKEN, "status")
    handed = doors.run(*UPSTOX_TOKEN, "token")

    assert (checked.code, shown.code, handed.code) == (77, 77, 77)
    assert "Token is expired or invalid" in checked.err
    assert "missing" in shown.out
    assert handed.out == ""


@pytest.mark.parametrize("command", [ONCE, SERVICE])
def test_a_wrong_configuration_is_in_the_log(doors, command):
    """Cron and Task Scheduler throw away what is printed."""
    doors.write(UPSTOX_CLIENT_SECRET="")
    ended = doors.run(*command)

    assert ended.code == 78
    assert ended.err.count("Client ID/Secret not found") == 1
    assert "Client ID/Secret not found" in doors.log.read_text(encoding="utf-8")


def test_an_unclosed_quote_is_named_where_a_key_seems_to_be_missing(doors):
    """The key is plainly there; the quotation mark is what is wrong."""
    doors.write(UPSTOX_CLIENT_ID='"sim-client')
    ended = doors.run(*INIT, "--no-browser")

    assert ended.code == 78
    assert "Line 3" in ended.err
    assert "quotation mark" in ended.err


def test_a_folder_as_the_env_file(doors):
    """Its `.env` is meant."""
    token = doors.log_in()
    ended = doors.run(*UPSTOX_TOKEN, "token", "--env-file", str(doors.folder), hide_out=False)

    assert ended.out == token + "\n"


def test_a_variable_of_the_environment_is_blamed_and_not_the_file(doors):
    """What outranks the file is named as the place of the fault."""
    ended = doors.run(*ONCE, environ={"UPSTOX_REFRESH_TIME": "2"})

    assert ended.code == 78
    assert "of the environment" in ended.err


def test_a_file_that_cannot_take_the_token_is_found_before_the_login(doors):
    """Nobody logs in with OTP and PIN only to hear that the token cannot be stored."""
    text = "NOTE='oops\n" + doors.env_file.read_text(encoding="utf-8") + "OTHER='x'\n"
    text = text.replace("UPSTOX_CLIENT", "export UPSTOX_CLIENT")
    doors.env_file.write_text(text, encoding="utf-8")
    credentials = {"UPSTOX_CLIENT_ID": "a", "UPSTOX_CLIENT_SECRET": "b"}
    ended = doors.run(*INIT, "--no-browser", environ=credentials)

    assert ended.code == 78
    assert "line 1" in ended.err
    assert "Open this address" not in ended.err
    assert doors.broker.count(TOKEN) == 0


@pytest.mark.parametrize("door", ["init_tokens.py", "token_refresh_service.py"])
def test_without_the_virtual_environment(tmp_path, door):
    """A Python without our packages is told so in words, with the command to type."""
    hidden = (
        "import runpy, sys\n"
        "for name in ('schedule', 'dateutil', 'dotenv', 'requests'): sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"sys.argv = [{door!r}]\n"
        f"runpy.run_path({str(ROOT / door)!r}, run_name='__main__')\n"
    )
    (tmp_path / ".env").write_text("UPSTOX_CLIENT_ID=a\nUPSTOX_CLIENT_SECRET=b\n")
    ran = subprocess.run(
        [sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 78
    assert "is not installed" in ran.stderr
    assert "activate" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_force_alone_says_its_failure_once(doors):
    """`--force` without `--once` is one run too, with one message."""
    ended = doors.run(*SERVICE, "--force")

    assert ended.code == 77
    assert ended.err.count("Refresh token not found") == 1


def test_a_quiet_day_of_cron_leaves_no_line(doors):
    """Nothing was due, so neither the terminal nor the log says anything."""
    doors.log_in()
    for _ in range(3):
        ended = doors.run(*ONCE)

    assert (ended.code, ended.said) == (0, "")
    assert doors.log.read_text(encoding="utf-8") == ""
