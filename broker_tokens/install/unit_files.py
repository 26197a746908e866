"""The units that lie in a folder of systemd: whose they are, and which `.env` they are for."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from broker_tokens.install.job import DOOR, PROGRAM, not_ours
from broker_tokens.install.same_env import is_same
from broker_tokens.install.unit_syntax import path_of, settings_of, words_of
from broker_tokens.install.units import made_for


def services_for(env_path: str, folder: str, home: str) -> Iterator[str]:
    """Yield the names of the services in a folder that look after a `.env`; %h is `home`."""
    for name in _listed(folder, ".service"):
        owner = _looked_after(_text(os.path.join(folder, name)), home)
        if owner is not None and is_same(owner, env_path):
            yield name


def timer_of(folder: str, service: str) -> str | None:
    """Return the timer that starts a service, None if there is none."""
    for timer in _listed(folder, ".timer"):
        if _started_by(os.path.join(folder, timer)) == service:
            return timer
    return None


def unit_owner(path: str, home: str) -> str:
    """Return the `.env` that a service, timer or alert is for, made by us or copied by hand.

    Raises ConfigurationError if it is somebody else's; a link to /dev/null (masked) is, too.
    """
    text = _text(path)
    owner = _looked_after(text, home) or _told_of(text, home)
    if owner is None and path.endswith(".timer"):
        service = os.path.join(os.path.dirname(path), _started_by(path))
        owner = _looked_after(_text(service), home)
    owner = owner or made_for(text)
    if owner is None:
        raise not_ours(path)
    return owner


def is_needed(alert: str, but_for: Sequence[str]) -> bool:
    """Whether a service beside it, other than those `but_for`, has this alert tell of its end."""
    folder, name = os.path.split(alert)
    template, at, _ = name.partition("@")
    paths = (os.path.join(folder, service) for service in _listed(folder, ".service"))
    others = (_text(path) for path in paths if path not in but_for)
    return bool(at) and any(
        f"{template}@" in settings_of(other).get("OnFailure", "") for other in others
    )


def _listed(folder: str, ending: str) -> list[str]:
    with suppress(OSError):
        return sorted(name for name in os.listdir(folder) if name.endswith(ending))
    return []


def _started_by(timer: str) -> str:
    """Return the name of the unit that a timer starts."""
    unit = settings_of(_text(timer)).get("Unit", "")
    return unit or os.path.basename(timer).replace(".timer", ".service")


def _looked_after(text: str, home: str) -> str | None:
    """Return the `.env` that a service looks after, None if it is none of ours."""
    keys = settings_of(text)
    words = words_of(keys.get("ExecStart", ""), home)
    is_ours = any(os.path.basename(word) == PROGRAM for word in words)
    return _env_of(words, keys, home) if is_ours else None


def _told_of(text: str, home: str) -> str | None:
    """Return the `.env` by whose channels an alert tells, None if it is none of ours."""
    keys = settings_of(text)
    words = words_of(keys.get("ExecStart", ""), home)
    is_ours = "--unit-failed" in words and any(os.path.basename(word) == DOOR for word in words)
    return _env_of(words, keys, home) if is_ours else None


def _env_of(words: list[str], keys: dict[str, str], home: str) -> str | None:
    if "--env-file" in words[:-1]:
        return words[words.index("--env-file") + 1]
    folder = path_of(keys.get("WorkingDirectory", ""), home)
    return os.path.join(folder, ".env") if folder else None


def _text(path: str) -> str:
    """Return a unit with what `systemctl edit` has put beside it; nothing if it is unreadable."""
    beside = f"{path}.d"
    paths = [path, *(os.path.join(beside, name) for name in _listed(beside, ".conf"))]
    texts = []
    for each in paths:
        with suppress(OSError), open(each, encoding="utf-8", errors="surrogateescape") as file:
            texts.append(file.read())
    return "\n".join(texts)
