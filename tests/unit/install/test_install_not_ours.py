"""What somebody else has made under a name of ours is neither written over nor taken away."""

import codecs
import os

import pytest
from unit.install.test_install_command import set_up

DEEDS = ["--apply", "--uninstall"]
UNIT = "[Service]\nExecStart=/usr/bin/python3 my_strategy.py\n"
TIMER = "[Timer]\nOnCalendar=daily\nUnit=backup.service\n"
PLIST = """<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>ProgramArguments</key><array><string>x</string></array></dict>
</plist>"""
TASK = """<?xml version="1.0"?>
<Task version="1.2"><Actions><Exec><Command>x.exe</Command></Exec></Actions></Task>"""

USERS, SYSTEMS = "home/.config/systemd/user", "root/etc/systemd/system"
AGENTS, DAEMONS = "home/Library/LaunchAgents", "root/Library/LaunchDaemons"
FILES = {
    "a user's unit": ("systemd", [], f"{USERS}/mine.service", UNIT),
    "a system's unit": ("systemd", ["--system"], f"{SYSTEMS}/mine.service", UNIT),
    "an alert": ("systemd", [], f"{USERS}/mine-alert@.service", UNIT),
    "what a timer starts": ("systemd-timer", ["--system"], f"{SYSTEMS}/mine-once.service", UNIT),
    "a timer": ("systemd-timer", [], f"{USERS}/mine-once.timer", TIMER),
    "the system's own cron job": ("cron", ["--system"], "root/etc/cron.d/mine", "0 3 * * * x y\n"),
    "an empty file": ("cron", ["--system"], "root/etc/cron.d/mine", ""),
    "an agent": ("launchd", [], f"{AGENTS}/com.broker-tokens.mine.plist", PLIST),
    "a daemon": ("launchd", ["--system"], f"{DAEMONS}/com.broker-tokens.mine.plist", "no XML"),
}


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize(("kind", "scope", "path", "text"), FILES.values(), ids=FILES)
def test_a_file_that_is_not_ours(played, install_on, kind, scope, path, text, deed):
    """It is named, with what to do, and stays as it is; so does the machine."""
    set_up(played, kind, scope)
    played.env_file()
    file = played.folder / path
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    before = played.files()
    refused = install_on(played, kind, *scope, deed, "--name", "mine")

    assert refused.code == 78
    assert str(file) in refused.err
    assert "--name" in refused.err
    assert played.files() == before
    assert not played.enabled | played.active


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("name", ["mine", "mine-wake"])
def test_a_task_that_is_not_ours(played, install_on, name, deed):
    """A task of Windows, or one that is called as our wake-up would be."""
    set_up(played, "windows")
    played.env_file()
    played.tasks[name] = codecs.BOM_UTF16_LE + TASK.encode("utf-16-le")
    before = played.files()
    refused = install_on(played, "windows", deed, "--name", "mine")

    assert refused.code == 78
    assert name in refused.err
    assert played.files() == before


@pytest.mark.parametrize("deed", DEEDS)
def test_a_unit_that_is_masked(played, install_on, deed):
    """Somebody has forbidden it; that link to /dev/null stays."""
    unit = played.user_units / "upstox-token-refresh.service"
    unit.parent.mkdir(parents=True)
    unit.symlink_to(os.devnull)

    assert install_on(played, "systemd", deed).code == 78
    assert os.readlink(unit) == os.devnull


def test_showing_says_that_the_name_is_not_ours(played, install_on):
    """What would be written is shown all the same."""
    unit = played.user_units / "mine.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(UNIT, encoding="utf-8")
    shown = install_on(played, "systemd", "--name", "mine")

    assert shown.code == 0
    assert "ExecStart=" in shown.out
    assert f"{unit} is not ours" in shown.err


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("kind", ["systemd", "systemd-timer"])
def test_units_copied_by_hand_are_ours(played, install_on, kind, deed):
    """What looks after this very `.env` under the name is updated, and taken away when asked."""
    played.env_file()
    before = played.files()
    install_on(played, kind, "--apply")
    for unit in played.user_units.iterdir():
        text = unit.read_text(encoding="utf-8")
        unit.write_text(text.replace("# Made by: upstox-token install", "# My copy"), "utf-8")
    done = install_on(played, kind, deed)

    assert done.code == 0, done.err
    assert install_on(played, kind, "--uninstall").code == 0
    assert played.files() == before


def test_a_timer_without_its_service_can_be_taken_away(played, install_on):
    """What is left of ours is known by the line that we put at its head."""
    played.env_file()
    before = played.files()
    install_on(played, "systemd-timer", "--apply")
    (played.user_units / "upstox-token-once.service").unlink()

    assert install_on(played, "systemd-timer", "--uninstall").code == 0
    assert played.files() == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["systemd-timer"], ["systemd"]),
        (["systemd"], ["systemd-timer"]),
        (["systemd"], ["systemd", "--name", "upstox-token"]),
        (["systemd-timer", "--name", "both"], ["systemd", "--name", "both"]),
    ],
)
def test_two_envs_share_no_alert(played, install_on, first, second):
    """Where the alert would be one for both, the second `.env` is refused; the first keeps its."""
    one, other = played.env_file(), played.env_file("other")
    install_on(played, *first, "--apply", env_file=one)
    before = played.files()
    refused = [install_on(played, *second, deed, env_file=other) for deed in DEEDS]

    assert [each.code for each in refused] == [78, 78]
    assert str(one) in refused[0].err
    assert "--name" in refused[0].err
    assert played.files() == before


@pytest.mark.parametrize("second", [["systemd-timer"], ["systemd", "--name", "upstox-token"]])
def test_an_alert_stays_as_long_as_a_unit_needs_it(played, install_on, second):
    """Taking away what is not installed leaves alone what another kind or name shares with it."""
    played.env_file()
    install_on(played, "systemd", "--apply")
    before = played.files()
    taken_away = install_on(played, *second, "--uninstall")

    assert taken_away.out.startswith("Nothing to take away")
    assert played.files() == before


def test_an_alert_that_is_left_alone_can_be_taken_away(played, install_on):
    """One that no unit needs any more goes with --uninstall."""
    played.env_file()
    before = played.files()
    install_on(played, "systemd", "--apply")
    (played.user_units / "upstox-token-refresh.service").unlink()
    install_on(played, "systemd", "--uninstall")

    assert played.files() == before


@pytest.mark.parametrize("deed", DEEDS)
def test_an_alert_that_tells_of_another_env(played, install_on, deed):
    """Beside a unit of our own it is another's still."""
    one, other = str(played.env_file()), str(played.env_file("other"))
    install_on(played, "systemd", "--apply", env_file=one)
    alert = played.user_units / "upstox-token-alert@.service"
    alert.write_text(alert.read_text(encoding="utf-8").replace(one, other), encoding="utf-8")
    before = played.files()
    refused = install_on(played, "systemd", deed, env_file=one)

    assert (refused.code, played.files()) == (78, before)
    assert other in refused.err
