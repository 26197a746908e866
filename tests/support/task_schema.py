"""What Microsoft's schema of the Task Scheduler demands of the elements that our tasks use.

From "Task Scheduler Schema" of the Windows documentation: children, their order where it is fixed,
and the form of each value.
"""

import re
from xml.etree import ElementTree as ET

SPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"

_BOOLEAN = r"true|false"
_DURATION = r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?"
_PATH = r".{1,260}"

_ORDER_OF_A_TRIGGER = [
    *("Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit"),
    *("RandomDelay", "ScheduleByDay"),
]
_SETTINGS = [
    *("MultipleInstancesPolicy", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries"),
    *("StartWhenAvailable", "RunOnlyIfNetworkAvailable", "WakeToRun", "Hidden"),
    *("RestartOnFailure", "ExecutionTimeLimit"),
]

# By element: whether its children have this order, which there may be, and which there must be.
_CHILDREN = {
    "Task": (
        False,
        ["RegistrationInfo", "Triggers", "Settings", "Principals", "Actions"],
        ["Actions"],
    ),
    "RegistrationInfo": (False, ["Description"], []),
    "Triggers": (False, ["CalendarTrigger"], []),
    "CalendarTrigger": (
        True,
        [
            "Enabled",
            "StartBoundary",
            "EndBoundary",
            "Repetition",
            "ExecutionTimeLimit",
            "RandomDelay",
            "ScheduleByDay",
        ],
        ["ScheduleByDay"],
    ),
    "Repetition": (False, ["Interval", "Duration", "StopAtDurationEnd"], ["Interval"]),
    "ScheduleByDay": (False, ["DaysInterval"], []),
    "Settings": (
        False,
        [
            "MultipleInstancesPolicy",
            "DisallowStartIfOnBatteries",
            "StopIfGoingOnBatteries",
            "StartWhenAvailable",
            "RunOnlyIfNetworkAvailable",
            "WakeToRun",
            "Hidden",
            "RestartOnFailure",
            "ExecutionTimeLimit",
        ],
        [],
    ),
    "RestartOnFailure": (False, ["Interval", "Count"], ["Interval", "Count"]),
    "Principals": (True, ["Principal"], ["Principal"]),
    "Principal": (False, ["UserId", "LogonType", "RunLevel"], []),
    "Actions": (True, ["Exec"], ["Exec"]),
    "Exec": (False, ["Command", "Arguments", "WorkingDirectory"], ["Command"]),
}
_REPEATED = {"CalendarTrigger"}
_VALUES = {
    "Description": r".*",
    "StartBoundary": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d|Z)?",
    "Interval": _DURATION,
    "Duration": _DURATION,
    "ExecutionTimeLimit": _DURATION,
    "DaysInterval": r"[1-9]\d{0,2}",
    "MultipleInstancesPolicy": r"Parallel|Queue|IgnoreNew|StopExisting",
    "DisallowStartIfOnBatteries": _BOOLEAN,
    "StopIfGoingOnBatteries": _BOOLEAN,
    "StartWhenAvailable": _BOOLEAN,
    "RunOnlyIfNetworkAvailable": _BOOLEAN,
    "WakeToRun": _BOOLEAN,
    "Hidden": _BOOLEAN,
    "Count": r"[1-9]\d{0,2}",
    "UserId": r".+",
    "LogonType": r"S4U|Password|InteractiveToken|InteractiveTokenOrPassword",
    "RunLevel": r"LeastPrivilege|HighestAvailable",
    "Command": _PATH,
    "Arguments": r".*",
    "WorkingDirectory": _PATH,
}


def parsed(content: bytes | str) -> ET.Element:
    """Return a task, of which the schema has nothing to complain about."""
    task = ET.fromstring(content)
    assert (_name(task), task.get("version")) == ("Task", "1.3")
    _check(task)
    principals = [each.get("id") for each in task.iter(f"{SPACE}Principal")]
    assert all(each.get("Context") in principals for each in task.iter(f"{SPACE}Actions"))
    return task


def text_of(task: ET.Element, name: str) -> str:
    """Return the text of the first element of that name."""
    return next(task.iter(f"{SPACE}{name}")).text


def _name(element: ET.Element) -> str:
    assert element.tag.startswith(SPACE), element.tag
    return element.tag.removeprefix(SPACE)


def _check(element: ET.Element) -> None:
    name = _name(element)
    if name in _VALUES:
        assert re.fullmatch(_VALUES[name], element.text), (name, element.text)
        assert not len(element)
        return
    is_ordered, may_have, must_have = _CHILDREN[name]
    children = [_name(child) for child in element]
    unique = [child for child in children if child not in _REPEATED]
    assert len(unique) == len(set(unique)), children
    assert set(must_have) <= set(children) <= set(may_have), children
    if is_ordered:
        assert children == sorted(children, key=may_have.index), children
    for child in element:
        _check(child)
