"""The tasks of Windows: any path, the user's own times, and a file that is what it says."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from support.machines import Played
from support.task_schema import parsed, text_of
from unit.install.nasty import paths
from unit.install.test_install_command import set_up

from broker_tokens.errors import ConfigurationError
from broker_tokens.install import windows
from broker_tokens.install.job import make_job
from broker_tokens.install.templates import read_template

# What no name of a file can hold there.
_NO_NAME = re.compile(r'[<>:"/\\|?*]')


def on_windows(tmp_path, folder="C:\\Users\\trader\\broker-tokens"):
    """Return a job and a machine of Windows."""
    played = Played(tmp_path, platform="win32", environ={"USERDOMAIN": "PC", "TEMP": "C:\\Temp"})
    machine = replace(
        played.machine,
        home="C:\\Users\\trader",
        interpreter=f"{folder}\\.venv\\Scripts\\python.exe",
        module_folder=folder,
    )
    return make_job(f"{folder}\\.env", machine), machine


def rendered(template, job, machine):
    """Return a task as the file that schtasks reads, checked against the schema."""
    text = windows.render_task(read_template(template), job, machine)
    return parsed(text.encode("utf-16"))


def test_the_paths_are_those_of_windows(tmp_path):
    """The interpreter without a window, all paths absolute, the account with its domain."""
    task = rendered("windows-task.xml", *on_windows(tmp_path))
    folder = "C:\\Users\\trader\\broker-tokens"

    assert text_of(task, "Command") == f"{folder}\\.venv\\Scripts\\pythonw.exe"
    assert text_of(task, "WorkingDirectory") == folder
    assert text_of(task, "Arguments") == (
        f"{folder}\\token_refresh_service.py --once --env-file {folder}\\.env"
    )
    assert text_of(task, "UserId") == "PC\\trader"
    assert text_of(task, "LogonType") == "InteractiveToken"


def test_for_the_whole_machine_it_runs_without_a_logon(tmp_path):
    """--system is S4U: whether the user is logged on or not, no password stored."""
    job, machine = on_windows(tmp_path)
    task = rendered("windows-task-wake.xml", replace(job, is_system=True), machine)

    assert text_of(task, "LogonType") == "S4U"


@given(paths)
def test_any_path_survives(name):
    """XML and the command line of Windows give every folder's name back as it is."""
    name = _NO_NAME.sub("", name).rstrip(" .") or "x"
    folder = f"C:\\{name}\\y"
    job, machine = on_windows(Path("/nowhere"), folder)
    if windows._EXPANDED.search(folder):
        with pytest.raises(ConfigurationError):
            windows.WINDOWS.install(job, machine)
        return
    task = rendered("windows-task.xml", job, machine)

    assert text_of(task, "WorkingDirectory") == folder
    assert text_of(task, "Arguments") == subprocess.list2cmdline(
        [f"{folder}\\token_refresh_service.py", "--once", "--env-file", f"{folder}\\.env"]
    )
    text = windows.render_task(read_template("windows-task.xml"), job, machine)
    assert windows._env_of(text) == f"{folder}\\.env"


@pytest.mark.parametrize("name", ["%TEMP%", "a%b%c", "$(Arg0)"])
def test_what_the_scheduler_would_replace_is_refused(tmp_path, name):
    """The Task Scheduler expands %NAME% and $(Arg0), and knows no way to quote them."""
    job, machine = on_windows(tmp_path, f"C:\\{name}")

    with pytest.raises(ConfigurationError, match="Rename the folder"):
        windows.WINDOWS.install(job, machine)


OWN_TIMES = """\
UPSTOX_REFRESH_TOKEN=r
UPSTOX_REFRESH_TIME=23:45
UPSTOX_APPROVAL_TIME=08:50
UPSTOX_SESSION=09:15-15:30
"""
TIMES = {
    "the defaults": ("", ["08:00", "08:30", "08:45", "08:55", "09:00"]),
    "a refresh token": (
        "UPSTOX_REFRESH_TOKEN=r\n",
        ["02:00", "03:31", "08:00", "08:30", "08:45", "08:55", "09:00"],
    ),
    "a refresh token that is not used": (
        "UPSTOX_REFRESH_TOKEN=r\nUPSTOX_RENEWAL=browser_login\n",
        ["08:00", "08:30", "08:45", "08:55", "09:00"],
    ),
    "times of one's own": (
        OWN_TIMES,
        ["23:45", "03:31", "08:50", "09:00", "09:10", "09:15"],
    ),
    "asked when it opens": ("UPSTOX_APPROVAL_TIME=09:00\n", ["09:00"]),
    "a slip": ("UPSTOX_SESSION=soon\n", ["08:00", "08:30", "08:45", "08:55", "09:00"]),
}


@pytest.mark.parametrize(("text", "times"), TIMES.values(), ids=TIMES)
def test_it_is_woken_when_something_may_be_due(played, text, times):
    """By the settings of the `.env`, in IST; at 02:00 and 03:31 only if that can be of use."""
    env_file = played.env_file()
    env_file.write_text(text, encoding="utf-8")
    job = make_job(str(env_file), played.machine)
    task_text = windows.render_task(read_template("windows-task-wake.xml"), job, played.machine)
    starts = re.findall("<StartBoundary>(.*?)</StartBoundary>", task_text)

    assert starts == [f"2026-01-01T{at}:00+05:30" for at in times]
    parsed(task_text.encode("utf-16"))


def test_the_file_is_what_it_says(played, install_on):
    """UTF-16 with its mark, as it declares, and gone when the task is there."""
    set_up(played, "windows")
    installed = install_on(played, "windows", "--apply")

    assert installed.code == 0, installed.err
    assert sorted(played.tasks) == ["upstox-token-refresh", "upstox-token-refresh-wake"]
    for content in played.tasks.values():
        assert content.startswith(b"\xff\xfe<\0?\0x\0")
        assert 'encoding="UTF-16"' in content.decode("utf-16")
        parsed(content)
    assert not list(played.folder.glob("*.xml"))


def test_half_of_the_tasks_is_none(played, install_on):
    """When the second task is refused, the first is deleted again, and no file stays."""
    set_up(played, "windows")
    played.failing = {"schtasks /Create /TN upstox-token-refresh-wake": "ERROR: Access is denied."}
    failed = install_on(played, "windows", "--apply")

    assert failed.code == 78
    assert "Access is denied" in failed.err
    assert not played.tasks
    assert not list(played.folder.glob("*.xml"))


@pytest.mark.parametrize("kind", ["windows", "launchd"])
def test_elsewhere_it_is_shown_only(played, install_on, kind):
    """On Linux these can be looked at; --apply says that they belong to another machine."""
    shown = install_on(played, kind)
    refused = install_on(played, kind, "--apply")

    assert shown.code == 0
    assert "token_refresh_service.py" in shown.out
    assert refused.code == 78
    assert "linux" in refused.err
