"""`upstox-token notify --unit-failed`, as the units in deploy/ call it."""

import os

import pytest
from support.doors import ROOT

UNIT = "upstox-token-refresh.service"
KILLED = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}


@pytest.fixture
def told(doors):
    """A trader with a channel; returns a function that gives the notices that came through it."""
    program = doors.folder / "tell"
    program.write_text(f"#!/bin/sh\ncat >> '{doors.folder}/told'\n", encoding="utf-8")
    program.chmod(0o700)
    doors.set(UPSTOX_NOTIFY_COMMAND=str(program))

    def read():
        path = doors.folder / "told"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(UNIT)]

    return read


def fail(doors, **environ):
    """Have systemd tell of the unit's end."""
    door = str(ROOT / "upstox_token_manager.py")
    command = (door, "notify", "--unit-failed", UNIT, "--env-file", str(doors.env_file))
    return doors.run(*command, environ={"PYTHONPATH": "", **environ})


def test_the_end_is_told_once_a_day(doors, told):
    """A service that is killed every half minute sends one notice."""
    codes = [fail(doors, **KILLED).code for _ in range(2)]

    assert codes == [0, 0]
    assert told() == [f"{UNIT}: It was killed (signal KILL). systemd starts it again."]


def test_files_of_the_trader_beside_the_env_are_not_in_the_way(doors, told):
    """`token.py` in the working folder takes the place of none of Python's own modules."""
    for name in ("token.py", "calendar.py", "secrets.py"):
        (doors.folder / name).write_text("raise SystemExit('the wrong module')\n", "utf-8")
    ended = fail(doors, **KILLED)

    assert (ended.code, len(told())) == (0, 1), ended.said


def test_an_orderly_end_is_not_told(doors, told):
    """`systemctl stop` is no news."""
    ended = fail(doors, SERVICE_RESULT="success", EXIT_CODE="exited", EXIT_STATUS="0")

    assert (ended.code, ended.said, told()) == (0, "", [])


def test_without_a_channel_nothing_happens(doors):
    """The unit of OnFailure= is harmless for who has nobody to tell."""
    ended = fail(doors, **KILLED)

    assert (ended.code, ended.said) == (0, "")


def test_wrong_settings_can_be_told(doors, told):
    """The slip that keeps the service down does not silence the news of it."""
    doors.set(UPSTOX_SESSION="never")
    ended = fail(doors, SERVICE_RESULT="exit-code", EXIT_CODE="exited", EXIT_STATUS="78")

    assert ended.code == 0
    assert len(told()) == 1


@pytest.mark.parametrize("reader", ["unreadable", "missing"])
def test_a_lost_env_file_is_told_through_the_environments_channel(doors, told, reader):
    """Where the channel is known without the `.env`, its loss is told too."""
    command = doors.values["UPSTOX_NOTIFY_COMMAND"]
    doors.env_file.unlink()
    if reader == "unreadable":
        os.mkdir(doors.env_file)
    after_each_end = fail(doors, UPSTOX_NOTIFY_COMMAND=command, **KILLED)
    silent = told()
    ended = fail(
        doors, UPSTOX_NOTIFY_COMMAND=command, **{f"MONITOR_{key}": KILLED[key] for key in KILLED}
    )

    assert (after_each_end.code, silent) == (0, []), "unnoted, it would be told at every restart"
    assert ended.code == 0
    assert len(told()) == 1
