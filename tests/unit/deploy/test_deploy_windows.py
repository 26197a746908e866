"""`deploy/windows-task*.xml`: what the Task Scheduler demands, and what a trader needs."""

import pytest
from support.doors import ROOT
from support.task_schema import SPACE, parsed, text_of

LOOK = (ROOT / "deploy" / "windows-task.xml").read_text(encoding="utf-8")
WAKE = (ROOT / "deploy" / "windows-task-wake.xml").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [LOOK, WAKE])
def test_the_task_fits_the_schema(text):
    """Order, required elements, enumerations and durations are what the schema demands."""
    task = parsed(text)

    assert "--once" in text_of(task, "Arguments")
    assert text_of(task, "Command").endswith("pythonw.exe")
    assert text_of(task, "Hidden") == "true"
    assert text_of(task, "MultipleInstancesPolicy") == "IgnoreNew"
    assert text_of(task, "DisallowStartIfOnBatteries") == "false"
    assert text_of(task, "StopIfGoingOnBatteries") == "false"


def test_a_look_every_ten_minutes_wakes_nobody():
    """It repeats all day, makes up for what was missed, and leaves a sleeping computer alone."""
    task = parsed(LOOK)

    assert (text_of(task, "Interval"), text_of(task, "Duration")) == ("PT10M", "P1D")
    assert text_of(task, "StartWhenAvailable") == "true"
    assert text_of(task, "WakeToRun") == "false"


def test_a_sleeping_computer_is_woken_at_the_moments_that_matter():
    """In IST, whatever its zone: the two silent renewals, the asking, reminders, alarm."""
    task = parsed(WAKE)
    starts = [each.text for each in task.iter(f"{SPACE}StartBoundary")]

    assert text_of(task, "WakeToRun") == "true"
    assert [start[11:] for start in starts] == [
        f"{at}:00+05:30" for at in ("02:00", "03:31", "08:00", "08:30", "08:45", "08:55", "09:00")
    ]


MUTANTS = {
    "an unknown element": ("<Hidden>true</Hidden>", "<Hiden>true</Hiden>"),
    "no boolean": ("<Hidden>true", "<Hidden>yes"),
    "no duration": ("PT10M", "10M"),
    "an unknown policy": ("IgnoreNew", "Ignore"),
    "twice": ("<Count>3</Count>", "<Count>3</Count><Count>3</Count>"),
    "no command": ("Command>", "Arguments>"),
    "out of order": ("<ScheduleByDay>", "<ScheduleByDay/><StartBoundary/><ScheduleByDay>"),
    "another principal": ('Context="Author"', 'Context="Nobody"'),
}


@pytest.mark.parametrize("change", MUTANTS.values(), ids=MUTANTS)
def test_what_the_schema_refuses_is_refused_here(change):
    """The check of these tests rejects what the schema rejects."""
    assert change[0] in LOOK
    with pytest.raises((AssertionError, KeyError)):
        parsed(LOOK.replace(*change))
