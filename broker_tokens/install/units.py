"""Turns the systemd templates of `deploy/` into the units of one job, key by key."""

import os
import re
from collections.abc import Iterator

from broker_tokens.install import DEFAULT_NAME
from broker_tokens.install import unit_syntax as syntax
from broker_tokens.install.job import PROGRAM, Job
from broker_tokens.install.machine import Machine
from broker_tokens.install.templates import EXAMPLE_FOLDER, EXAMPLE_USER, own_path, read_template

SYSTEM_ONLY = "# >>> system units only", "# <<< system units only"
FOR_USER = "# user units: "

# The first line of each, by which it is known again.
_HEAD = "# Made by: upstox-token install (for {env_path}); --uninstall takes it away."

# Keys whose value is a list of words; every other one that holds a path is that path alone.
_LISTS = ("ReadWritePaths", "ReadOnlyPaths", "BindPaths", "BindReadOnlyPaths", "Environment")
_ONLY_SYSTEM_KEYS = ("User", "Group")

_EXAMPLE = re.compile(re.escape(EXAMPLE_FOLDER) + r"[^\s:\"']*")
_UNIT_NAME = re.compile(r"\bupstox-token-(refresh|once|alert)\b")


def unit_names(name: str) -> dict[str, str]:
    """Return the names of a job's units by those of the templates, without what follows a dot."""
    stem = name if name != DEFAULT_NAME else name.removesuffix("-refresh")
    return {"refresh": name, "once": f"{stem}-once", "alert": f"{stem}-alert"}


def render_unit(template: str, job: Job, machine: Machine) -> str:
    """Return the unit that a template of `deploy/` becomes for a job."""
    return render_text(read_template(template), job, machine)


def render_text(text: str, job: Job, machine: Machine) -> str:
    """Return the unit that a template's text becomes; what tells of doing it by hand is left out.

    A user's own unit does without what only the system's manager can do.
    """
    body = text[text.index("\n[") + 1 :] if not text.startswith("[") else text
    lines = _without_hand_work(_for_scope(body.splitlines(), is_system=job.is_system))
    return "\n".join(
        [
            _HEAD.format(env_path=job.env_path),
            "",
            *(_rendered(line, job, machine) for line in lines),
            "",
        ]
    )


def made_for(text: str) -> str | None:
    """Return the `.env` that the head of a unit names, None if it is none that we have made."""
    before, after = _HEAD.split("{env_path}")
    head = text.partition("\n")[0]
    is_ours = head.startswith(before) and head.endswith(after)
    return head.removeprefix(before).removesuffix(after) if is_ours else None


def _for_scope(lines: list[str], *, is_system: bool) -> Iterator[str]:
    """Yield the lines that count for a system unit, or for a user's own."""
    begin, end = SYSTEM_ONLY
    is_left_out = False
    instead = ""
    for line in lines:
        if line.strip() in (begin, end):
            is_left_out = line.strip() == begin and not is_system
        elif line.startswith(FOR_USER):
            instead = "" if is_system else line.removeprefix(FOR_USER)
        elif not is_left_out and (is_system or _key(line) not in _ONLY_SYSTEM_KEYS):
            yield instead if instead and _key(line) == _key(instead) else line
            instead = ""


def _without_hand_work(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines without the comments that say what to change by hand."""
    comment: list[str] = []
    for line in lines:
        if line.startswith("#"):
            comment.append(line)
            continue
        if not any("CHANGE:" in each for each in comment):
            yield from comment
        comment = []
        yield line
    yield from comment


def _rendered(line: str, job: Job, machine: Machine) -> str:
    names = unit_names(job.name)
    line = _UNIT_NAME.sub(lambda found: names[found[1]], line)
    key, equals, value = line.partition("=")
    if line.startswith("#") or not equals:
        return line
    if key == "User" and value == EXAMPLE_USER:
        value = job.user.replace("%", "%%")
    elif key.startswith("Exec"):
        value = _command(value, job, machine)
    else:
        value = _paths(value, job, machine, is_list=key in _LISTS)
        if key == "ReadWritePaths":
            value += _behind_a_link(job)
    return f"{key}={value}"


def _behind_a_link(job: Job) -> str:
    """Return the folder that is written to where the `.env` is a symbolic link to another one."""
    folder = os.path.dirname(os.path.realpath(job.env_path))
    return "" if folder == os.path.realpath(job.folder) else f" {syntax.quoted(folder)}"


def _command(value: str, job: Job, machine: Machine) -> str:
    """Return a command line with the user's own paths."""
    words = value.split()
    prefix = words[0][: len(words[0]) - len(words[0].lstrip("-@:+!"))]
    words[0] = words[0].removeprefix(prefix)
    own = [own_path(word, job, machine) for word in words]
    if not any(own):
        return value
    # What is no path of the example's stands there in systemd's syntax already.
    program = syntax.command_line([own[0] or words[0]])
    rest = [
        syntax.argument(path) if path is not None else word
        for path, word in zip(own[1:], words[1:], strict=True)
    ]
    if job.listen and f"{EXAMPLE_FOLDER}/{PROGRAM}" in words and "--once" not in words:
        rest += ["--listen", syntax.argument(job.listen)]
    return prefix + " ".join([program, *rest])


def _paths(value: str, job: Job, machine: Machine, *, is_list: bool) -> str:
    if not is_list:
        return _EXAMPLE.sub(
            lambda found: syntax.lone_path(own_path(found[0], job, machine) or found[0]), value
        )
    return " ".join(
        syntax.quoted(_EXAMPLE.sub(lambda found: own_path(found[0], job, machine) or "", word))
        if _EXAMPLE.search(word)
        else word
        for word in value.split()
    )


def _key(line: str) -> str:
    return line.partition("=")[0].strip()
