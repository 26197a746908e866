"""launchd: a property list that reads as it was meant, loaded and unloaded."""

import plistlib
from pathlib import Path

import pytest
from hypothesis import given
from support.machines import Played
from unit.install.nasty import NASTY, nasty_machine, paths
from unit.install.test_install_command import set_up

from broker_tokens.install.job import make_job
from broker_tokens.install.launchd import render_plist
from broker_tokens.install.schedulers import Scheduler, find_schedulers

LABEL = "com.broker-tokens.upstox-token-refresh"


@pytest.mark.parametrize("name", NASTY)
def test_the_property_list_of_a_job(tmp_path, name):
    """Program, `.env` and folder are the user's own, whatever they are called."""
    machine, place = nasty_machine(tmp_path, name)
    content = plistlib.loads(render_plist(make_job(f"{place}/.env", machine), machine).encode())

    assert content["ProgramArguments"] == [
        machine.interpreter,
        f"{place}/token_refresh_service.py",
        *("--once", "--env-file", f"{place}/.env"),
    ]
    assert content["WorkingDirectory"] == str(place)
    assert "UserName" not in content


@given(paths)
def test_any_path_survives(name):
    """XML gives every path back."""
    machine = Played(Path("/nowhere")).machine
    job = make_job(f"/{name}/.env", machine)

    assert plistlib.loads(render_plist(job, machine).encode())["WorkingDirectory"] == job.folder


def test_a_daemon_runs_as_the_owner(played):
    """--system is a daemon of the machine, which needs the account's name."""
    played.owners = {str(played.env_file()): "algo"}
    job = make_job(str(played.env_file()), played.machine, name="second", is_system=True)
    content = plistlib.loads(render_plist(job, played.machine).encode())

    assert content["UserName"] == "algo"
    assert content["Label"] == "com.broker-tokens.second"


def test_it_is_loaded_and_found(played, install_on):
    """It is active once installed; unloaded by hand it is found still, and told from active."""
    set_up(played, "launchd")
    install_on(played, "launchd", "--apply")
    env_file = str(played.env_file())
    where = str(played.home / "Library/LaunchAgents" / f"{LABEL}.plist")
    name = "upstox-token-refresh"

    assert played.active == {f"gui/1000/{LABEL}"}
    assert find_schedulers(env_file, played.machine) == [
        Scheduler("launchd", False, name, where, True)
    ]
    played.active.clear()
    assert find_schedulers(env_file, played.machine) == [
        Scheduler("launchd", False, name, where, False)
    ]


def test_over_ssh_it_says_what_to_do(played, install_on):
    """Without a login at the screen there is no domain for agents: undone, and said."""
    set_up(played, "launchd")
    played.env_file()
    before = played.files()
    played.failing = {"launchctl bootstrap": "Bootstrap failed: 125: Domain does not support it"}
    failed = install_on(played, "launchd", "--apply")

    assert failed.code == 78
    assert "SSH" in failed.err
    assert played.files() == before
