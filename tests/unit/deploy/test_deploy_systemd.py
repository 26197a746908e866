"""The systemd units in deploy/: accepted without a word, sandboxed, and fit for both managers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
FOLDER = "/home/trader/broker-tokens"
SERVICES = [
    "upstox-token-refresh.service",
    "upstox-token-once.service",
    "upstox-token-alert@.service",
]
UNITS = [*SERVICES, "upstox-token-once.timer"]

SYSTEM_ONLY = re.compile(r"(?ms)^# >>> system units only\n(.*?)^# <<< system units only\n")
FOR_USERS = re.compile(r"(?m)^# user units: (.+)\n(.+)$")


def text_of(name):
    """Return a template."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def for_user(text):
    """Return what stays of a template in a unit of `systemctl --user`."""
    return FOR_USERS.sub(r"\1", SYSTEM_ONLY.sub("", text))


def settings(text):
    """Return the lines that systemd reads."""
    return [line for line in text.splitlines() if line and line[0] not in "#["]


def analyze(*arguments):
    """Run systemd-analyze; without it the test is skipped, but not in CI."""
    if shutil.which("systemd-analyze") is None:
        assert not os.environ.get("CI"), "CI installs systemd"
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path):
    """A folder with the units as they are installed, whose programs exist."""

    def install(change):
        for name in UNITS:
            text = change(text_of(name)).replace(f"{FOLDER}/.venv/bin/python", sys.executable)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return install


@pytest.mark.parametrize("change", [str, for_user], ids=["system", "user"])
@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_of_a_unit(folder, name, change):
    """`verify` prints nothing, which counts: it exits 0 even for keys that it does not know."""
    checked = analyze("verify", "--recursive-errors=no", str(folder(change) / name))

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_the_sandbox_is_tight(folder, name):
    """systemd itself rates the exposure of each service at 1.2 of 10 at most."""
    checked = analyze("security", "--offline=true", str(folder(str) / name))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", checked.stdout)

    assert float(level[1]) <= 1.2


def test_the_three_sandboxes_are_one():
    """What one service may not do, the two others may not do either."""
    bodies = [text_of(name).partition("[Install]")[0].partition("\nUMask=")[2] for name in SERVICES]
    sandboxes = {tuple(settings(f"UMask={body}")) for body in bodies}

    assert len(sandboxes) == 1
    assert f"ReadWritePaths={FOLDER}" in next(iter(sandboxes))


@pytest.mark.parametrize("name", SERVICES)
def test_what_user_units_cannot_have_is_marked(name):
    """Root's settings stand between the marks, and nothing of them is left in a user unit."""
    text = text_of(name)
    kept = {line.partition("=")[0] for line in settings(for_user(text))}
    marked = {
        line.partition("=")[0] for part in SYSTEM_ONLY.findall(text) for line in settings(part)
    }

    assert text.count("# >>> system units only") == len(SYSTEM_ONLY.findall(text))
    assert {"User", "ReadWritePaths", "ProtectSystem", "CapabilityBoundingSet"} <= marked
    assert not kept & marked
    assert {"ExecStart", "WorkingDirectory", "NoNewPrivileges", "SystemCallFilter"} <= kept


def test_a_user_unit_starts_with_the_users_manager():
    """multi-user.target is unknown to `systemctl --user`; the template says what to write."""
    text = text_of("upstox-token-refresh.service")

    assert text.endswith("WantedBy=multi-user.target\n")
    assert for_user(text).endswith("\nWantedBy=default.target\n")


@pytest.mark.parametrize("name", UNITS)
def test_the_example_is_one_trader(name):
    """Whoever replaces the name and the folder throughout has replaced all there is to replace."""
    paths = re.findall(r"(?m)^[^#].*?(/\S*trader\S*)", text_of(name))

    assert all(path.startswith(FOLDER) for path in paths)
    for line in settings(text_of(name)):
        if line.startswith(("ExecStart=", "ExecStopPost=")):
            assert f" --env-file {FOLDER}/.env" in line


def test_a_wrong_configuration_or_a_missing_person_starts_nothing_again():
    """After exit codes 2, 77 and 78 the service stays down; after all others it comes back."""
    lines = settings(text_of("upstox-token-refresh.service"))

    assert "Restart=on-failure" in lines
    assert "RestartPreventExitStatus=2 77 78" in lines
    assert "StartLimitIntervalSec=0" in lines
    assert "OnFailure=upstox-token-alert@%n.service" in lines


@pytest.mark.parametrize(
    ("at", "then"),
    [
        ("2026-11-24 22:00:00 UTC", "2026-11-24 22:01:00 UTC"),  # 03:30 IST; at 03:31 it looks
        ("2026-11-25 02:52:00 UTC", "2026-11-25 03:00:00 UTC"),  # 08:22 IST; reminder at 08:30
        ("2026-11-25 03:11:30 UTC", "2026-11-25 03:15:00 UTC"),  # 08:41 IST; reminder at 08:45
        ("2026-11-25 03:21:30 UTC", "2026-11-25 03:25:00 UTC"),  # 08:51 IST; reminder at 08:55
        ("2026-11-25 03:26:00 UTC", "2026-11-25 03:30:00 UTC"),  # 08:56 IST; alarm at 09:00
        ("2026-11-28 11:42:00 UTC", "2026-11-28 11:51:00 UTC"),  # on any day, every ten minutes
    ],
)
def test_the_timer_looks_when_it_matters(at, then):
    """In India's time, whatever the machine's zone."""
    lines = settings(text_of("upstox-token-once.timer"))
    calendars = [line.partition("=")[2] for line in lines if line.startswith("OnCalendar=")]
    next_ = []
    for calendar in calendars:
        checked = analyze("calendar", f"--base-time={at}", calendar)
        next_ += re.findall(r"(?:Next elapse|\(in UTC\)): \w+ ([0-9: -]+ UTC)", checked.stdout)

    assert min(next_) == then


def test_the_timer_makes_up_for_a_missed_look():
    """A machine that slept through a look looks as soon as it wakes, and not all in one second."""
    lines = settings(text_of("upstox-token-once.timer"))

    assert "Persistent=true" in lines
    assert any(re.fullmatch(r"RandomizedDelaySec=[1-9][0-9]*", line) for line in lines)
