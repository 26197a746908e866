"""Python, packages, the zone, the disk: what can be wrong before any `.env` is read."""

import re
import sys
from pathlib import Path

import pytest
from support.house import ist

from broker_tokens.doctor.machine import NEEDED, check_python, check_zone

ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20


def test_what_is_needed_is_what_is_required():
    """The versions that doctor asks for are those of requirements.txt."""
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()

    assert sorted(f"{name}>={version}" for name, version in NEEDED.values()) == sorted(required)


@pytest.mark.parametrize(
    ("version", "is_well"),
    [("2.33", True), ("2.33.0", True), ("3.0", True), ("2.100.1", True), ("2.32.9", False)],
)
def test_versions_are_compared_as_numbers(version, is_well):
    """2.100 is newer than 2.33, and what is too old is named with what is needed."""
    found = list(check_python(lambda name: version if name == "requests" else "99"))

    assert any(each.level == "fail" for each in found) is not is_well
    if not is_well:
        assert f"requests {version} is too old; 2.33" in found[-1].words


def test_a_python_without_ssl(monkeypatch):
    """Nothing can be asked of a broker then; the report goes on."""
    monkeypatch.setitem(sys.modules, "ssl", None)
    found = list(check_python(lambda _: "99"))

    assert [each.level for each in found] == ["fail", "ok"]
    assert "cannot load its ssl module" in found[0].words


def test_no_package_at_all():
    """Each missing one is a line, and the version of ours is known all the same."""
    found = list(check_python(lambda _: None))

    assert [each.level for each in found] == ["ok", "ok", *["fail"] * 4]
    assert re.fullmatch(r"broker-tokens [\d.]+", found[1].words)


@pytest.mark.parametrize(
    ("zone", "level"),
    [
        *(("", "ok"), ("UTC", "ok"), ("Asia/Kolkata", "ok"), (":Europe/London", "ok")),
        *(("IST-5:30", "ok"), ("<+0530>-5:30", "ok"), ("EST5EDT", "ok")),
        *(("Asia/Bombay2", "warn"), ("Kolkata", "warn"), ("../etc", "warn")),
    ],
)
def test_a_zone_counts_only_when_its_data_is_missing(zone, level):
    """Any zone will do; one that the machine cannot look up misleads its other programs."""
    found = list(check_zone(ist("2026-11-20 08:00"), {"TZ": zone}))

    assert found[-1].level == level
    assert "IST" in found[0].words


@pytest.mark.parametrize(
    ("free", "level", "code"), [(100 * MIB, "ok", 0), (20 * MIB, "warn", 0), (5_000, "fail", 75)]
)
def test_the_room_on_the_disk(tell, free, level, code):
    """Without room for a token nothing can be renewed, which passes when somebody tidies up."""
    told = tell(free_bytes=lambda _: free)

    assert (told["disk"], told.code) == (level, code)
