"""Two schedulers for one `.env` are refused, whoever made the first one, and it is said which."""

import os
import shlex
import time
from dataclasses import replace

import pytest
from unit.install.test_install_command import KINDS, let_linger, set_up

from broker_tokens.attendance import only_service
from broker_tokens.install.machine import Completed, home_of, this_machine
from broker_tokens.install.schedulers import Scheduler, find_schedulers

ON_LINUX = ["systemd", "systemd-timer", "cron"]
UNIT = """[Service]
WorkingDirectory={folder}
ExecStart={folder}/.venv/bin/python token_refresh_service.py
"""
TASK = """<Tasks>
<!-- \\Microsoft\\Other -->
<Task version="1.2"><Actions><Exec><Command>x.exe</Command></Exec></Actions></Task>
<!-- \\Mine -->
<Task version="1.2"><Actions><Exec><Command>{folder}\\pythonw.exe</Command>
<Arguments>token_refresh_service.py --once</Arguments>
<WorkingDirectory>{folder}</WorkingDirectory></Exec></Actions></Task>
</Tasks>"""


@pytest.mark.parametrize("first", ON_LINUX)
@pytest.mark.parametrize("second", ON_LINUX)
def test_a_second_kind_is_refused(played, install_on, first, second):
    """The refusal names the first and the command that takes it away; after that one, it goes."""
    env_file = played.env_file()
    install_on(played, first, "--apply")
    before = played.files()
    name = ["--name", "other"] if first == second else []
    refused = install_on(played, second, "--apply", *name)

    assert refused.code == 78
    assert first in refused.err
    assert played.files() == before
    advised = refused.err.partition("upstox-token install ")[2].split("\n")[0]
    kind, *options = shlex.split(advised)
    at = options.index("--env-file")
    assert options[at + 1] == str(env_file)
    assert install_on(played, kind, *options[:at]).code == 0
    assert install_on(played, second, "--apply", *name).code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_own_beside_the_machines(played, install_on, kind):
    """One for the user and one for the machine are two, too."""
    set_up(played, kind)
    install_on(played, kind, "--apply")
    set_up(played, kind, ["--system"])
    refused = install_on(played, kind, "--system", "--apply", "--name", "other")

    assert refused.code == 78
    assert "looked after already" in refused.err


@pytest.mark.parametrize("kind", ["systemd", "systemd-timer", "cron", "launchd"])
def test_root_sees_what_the_owner_has(played, install_on, kind):
    """`sudo` with a home of root's own: the owner's units and crontab count, and it says whose."""
    set_up(played, kind)
    env_file = played.env_file()
    install_on(played, kind, "--apply", env_file=env_file)
    set_up(played, kind, ["--system"])
    played.at_home = "home of root"
    played.home.mkdir()
    if played.crontab:
        played.crontabs["trader"], played.crontab = played.crontab, None
    before = played.files()
    other = "cron" if kind == "launchd" else "systemd"
    refused = install_on(played, other, "--system", "--apply", env_file=env_file)

    assert refused.code == 78
    assert f"As trader: upstox-token install {kind} --uninstall --name" in refused.err
    assert played.files() == before


def test_root_sees_a_line_that_the_owner_has_written(played, install_on):
    """In that crontab $HOME is the owner's; whose crontab to edit is said."""
    env_file = played.env_file()
    set_up(played, "systemd", ["--system"])
    played.at_home = "home of root"
    played.crontabs["trader"] = b"*/5 * * * * python ~/broker-tokens/token_refresh_service.py\n"
    refused = install_on(played, "systemd", "--system", "--apply", env_file=env_file)

    assert refused.code == 78
    assert "cron (crontab of trader)" in refused.err
    assert "As trader: crontab -e" in refused.err


def test_an_owner_without_a_name_has_nothing(played, install_on):
    """A number that is nobody's account has no home to look into."""
    env_file = played.env_file()
    set_up(played, "systemd", ["--system"])
    played.owners = {str(env_file): "54321"}
    machine = replace(played.machine, home_of=home_of)

    assert find_schedulers(str(env_file), machine) == []


BY_HAND = [
    "0 2 * * * cd {folder} && .venv/bin/python token_refresh_service.py",
    "*/10 * * * * cd $HOME/broker-tokens && .venv/bin/python token_refresh_service.py --once",
    "@reboot cd ~/broker-tokens; nohup python token_refresh_service.py &",
    "* * * * * UPSTOX_ENV_FILE={folder}/.env python /opt/token_refresh_service.py --once",
    "* * * * * python {folder}/token_refresh_service.py --once --env-file={folder}/.env 2>&1 'x",
]
OTHERS = [
    "0 9 * * * cd {folder} && .venv/bin/python my_strategy.py",
    "#*/10 * * * * cd {folder} && .venv/bin/python token_refresh_service.py --once",
    "* * * * * cd {folder}2 && .venv/bin/python token_refresh_service.py --once",
    "* * * * * cd {folder} && python token_refresh_service.py --once --env-file /other/.env",
]


@pytest.mark.parametrize("line", BY_HAND)
def test_a_cron_line_by_hand(played, install_on, line):
    """A line that somebody wrote is found by its folder or `.env`, and told how to take away."""
    folder = played.env_file().parent
    played.crontab = line.format(folder=folder).encode() + b"\n"
    refused = install_on(played, "systemd", "--apply")

    assert refused.code == 78
    assert "crontab of trader" in refused.err
    assert "crontab -e" in refused.err


@pytest.mark.parametrize("line", OTHERS)
def test_a_cron_line_for_something_else(played, install_on, line):
    """A strategy, a comment, and a line for another `.env` stand in nobody's way."""
    folder = played.env_file().parent
    played.crontab = line.format(folder=folder).encode() + b"\n"

    assert install_on(played, "systemd", "--apply").code == 0


@pytest.mark.parametrize("name", ["my-tokens", "upstox-token-refresh"])
@pytest.mark.parametrize("place", ["home/.config/systemd/user", "root/etc/systemd/system"])
def test_a_unit_by_hand(played, install_on, place, name):
    """A unit without --env-file is known by its folder, also from a copy of deploy/."""
    folder = played.env_file().parent
    unit = played.folder / place / f"{name}.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(UNIT.format(folder=folder), encoding="utf-8")
    refused = install_on(played, "cron", "--apply")

    assert refused.code == 78
    assert str(unit) in refused.err


def test_a_unit_that_was_edited(played, install_on):
    """What `systemctl edit` has put beside a unit counts."""
    install_on(played, "systemd", "--apply")
    other = played.env_file("other")
    beside = played.user_units / "upstox-token-refresh.service.d" / "override.conf"
    beside.parent.mkdir()
    beside.write_text(
        f"[Service]\nExecStart=\nExecStart=python token_refresh_service.py --env-file {other}\n"
    )

    assert find_schedulers(str(played.env_file()), played.machine) == []
    assert find_schedulers(str(other), played.machine)


def test_a_task_by_hand(played, install_on):
    """A task of Windows is known by its folder."""
    set_up(played, "windows")
    folder = "C:\\broker-tokens"
    machine = replace(
        played.machine, run=lambda *_, **__: Completed(0, out=TASK.format(folder=folder))
    )
    found = find_schedulers(f"{folder}\\.env", machine)

    assert found == [Scheduler("windows", False, "Mine", "task Mine", True)]


@pytest.mark.parametrize("kind", ON_LINUX)
def test_a_service_that_runs_is_refused(played, install_on, kind):
    """One started by hand is named by its pid, which is this test's own."""
    env_file = played.env_file()
    with only_service(str(env_file)):
        refused = install_on(played, kind, "--apply")

    assert refused.code == 78
    assert f"pid {os.getpid()}" in refused.err
    assert install_on(played, kind, "--apply").code == 0


def test_the_service_that_is_reinstalled_may_run(played, install_on):
    """Its own older version stands in no way; of a unit that is stopped it is not its own."""
    env_file = played.env_file()
    install_on(played, "systemd", "--apply")
    with only_service(str(env_file)):
        again = install_on(played, "systemd", "--apply")
        played.active.clear()
        refused = install_on(played, "systemd", "--apply")

    assert again.code == 0
    assert refused.code == 78


def test_showing_says_that_it_would_be_refused(played, install_on):
    """Without --apply it is shown all the same, and the reason told."""
    install_on(played, "cron", "--apply")
    shown = install_on(played, "systemd")

    assert shown.code == 0
    assert "ExecStart=" in shown.out
    assert "cron" in shown.err


def test_what_is_found_says_whether_it_is_active(played, install_on):
    """As systemctl says; nobody knows it of a line of cron."""
    env_file = str(played.env_file())
    install_on(played, "systemd-timer", "--apply")
    timer = str(played.user_units / "upstox-token-once.timer")
    name = "upstox-token-refresh"
    let_linger(played)
    active = find_schedulers(env_file, played.machine)
    played.active.clear()
    stopped = find_schedulers(env_file, played.machine)
    played.missing = ("systemctl",)
    unknown = find_schedulers(env_file, played.machine)

    assert active == [Scheduler("systemd-timer", False, name, timer, True)]
    assert stopped == [Scheduler("systemd-timer", False, name, timer, False)]
    assert unknown == [Scheduler("systemd-timer", False, name, timer, None)]


def test_what_does_not_start_with_the_machine_names_what_is_missing(played, install_on):
    """A unit that is not enabled; a user's own, while the account does not linger."""
    env_file = str(played.env_file())
    install_on(played, "systemd", "--apply")
    (at_login,) = find_schedulers(env_file, played.machine)
    let_linger(played)
    (at_boot,) = find_schedulers(env_file, played.machine)
    played.enabled.clear()
    (never,) = find_schedulers(env_file, played.machine)

    assert at_login.missing == f"loginctl enable-linger {played.machine.user}"
    assert at_boot.missing == ""
    assert never.missing == "systemctl --user enable upstox-token-refresh.service"


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "freebsd14"])
def test_looking_raises_nothing(played, platform):
    """A machine without any of the programs, folders that are files, files that are no text."""
    env_file = played.env_file()
    played.platform = platform
    played.missing = ("systemctl", "crontab", "launchctl", "schtasks")
    for path in (
        *("home/.config/systemd/user/a.service", "home/Library/LaunchAgents/a.plist"),
        *("root/etc/cron.d/x", "root/etc/systemd/system"),
    ):
        (played.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (played.folder / path).write_bytes(b"\xff\xfe<token_refresh_service.py> \\")

    assert find_schedulers(str(env_file), played.machine) == []


def test_looking_on_this_machine_is_quick(played):
    """A few files and a command or two: `status` does it at each call."""
    began = time.monotonic()

    assert find_schedulers(str(played.env_file()), this_machine()) == []
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["systemd", "systemd-timer"])
def test_without_systemd_as_process_1_cron_is_named(played, install_on, kind):
    """Nothing is tried, and what would work is the advice; seen without --apply, too."""
    (played.root / "run/systemd/system").rmdir()
    played.env_file()
    ended = install_on(played, kind, "--apply")

    assert ended.code == 78
    assert "systemd does not run on this machine" in ended.err
    assert "upstox-token install cron --apply" in ended.err
    assert not played.ran
    assert "would be refused" in install_on(played, kind).err


def test_what_is_installed_for_nothing_is_told(played, install_on):
    """Without the app's keys it can do nothing, without a channel nobody hears of it."""
    env_file = played.env_file()
    env_file.write_text("access_token=\n", encoding="utf-8")
    bare = install_on(played, "cron", "--apply", env_file=env_file)
    env_file.write_text(
        "UPSTOX_CLIENT_ID=a\nUPSTOX_CLIENT_SECRET=b\nUPSTOX_NOTIFY_COMMAND=true\n", encoding="utf-8"
    )
    whole = install_on(played, "cron", "--apply", env_file=env_file)

    assert "Client ID/Secret not found" in bare.err
    assert "Nobody is told" in bare.err
    assert (bare.code, whole.code, whole.err) == (0, 0, "")
