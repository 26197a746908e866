"""What installing does, step by step: each can be shown, done, and undone if a later one fails."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from broker_tokens.errors import ConfigurationError, TokenError
from broker_tokens.install.machine import Machine

Undo = Callable[[], None]

# Units, cron.d files and plists are read by the system, and hold no secret.
_FILE_MODE = 0o644


class Step(Protocol):
    """One change of the machine."""

    def shown(self) -> str:
        """Return what it will do, for people."""

    @property
    def title(self) -> str:
        """What it does, in a line."""

    def do(self, machine: Machine) -> Undo:
        """Do it; returns what takes it back. Raises ConfigurationError, with nothing changed."""


def nothing() -> None:
    """Undo what cannot be, or need not be, undone."""


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file with this content, over an older version of it."""

    path: str
    content: bytes
    text: str = ""

    @property
    def title(self) -> str:
        """What it does, in a line."""
        return f"write {self.path}"

    def shown(self) -> str:
        """Return the file whole, below its name."""
        text = self.text or self.content.decode()
        return f"# The file {self.path}:\n{text.rstrip()}"

    def do(self, machine: Machine) -> Undo:  # noqa: ARG002 -- a step's signature
        """Write the file and the folders it needs."""
        old = content_of(self.path)
        if old == self.content:
            return nothing
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            _replace(self.path, self.content)
        except OSError as error:
            raise _file_error(self.path, "written", error) from None
        return lambda: _put_back(self.path, old)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """A file that is there no more; one that never was is fine."""

    path: str

    @property
    def title(self) -> str:
        """What it does, in a line."""
        return f"remove {self.path}"

    def shown(self) -> str:
        """Return what it will do, in a line."""
        return f"# {self.title}"

    def do(self, machine: Machine) -> Undo:  # noqa: ARG002 -- a step's signature
        """Remove the file."""
        old = content_of(self.path)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        except OSError as error:
            raise _file_error(self.path, "removed", error) from None
        return nothing if old is None else lambda: _put_back(self.path, old)


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command of the system; `undo` takes back what it did.

    One that `may_fail` is worth a try and a word: `otherwise` is what the person is told then.
    """

    command: tuple[str, ...]
    undo: tuple[str, ...] = ()
    may_fail: bool = False
    otherwise: str = ""
    advice: str = ""

    @property
    def title(self) -> str:
        """What it does, in a line."""
        return typed(self.command)

    def shown(self) -> str:
        """Return the command as one would type it."""
        return typed(self.command)

    def do(self, machine: Machine) -> Undo:
        """Run the command."""
        done = machine.run(self.command)
        if done.code == 0:
            return (lambda: _run_quietly(machine, self.undo)) if self.undo else nothing
        if self.may_fail:
            if self.otherwise:
                raise Shortcoming(self.otherwise)
            return nothing
        said = (done.err.strip() or done.out.strip()).replace("\n", " ")
        raise ConfigurationError(
            f"`{self.title}` failed: {said or f'exit code {done.code}'}.", self.advice
        )


@dataclass(frozen=True, slots=True)
class AfterUndoing:
    """Nothing now; if the steps after it are undone, these commands come last.

    They may fail, but for `again`, which has the old version at work again.
    """

    commands: tuple[tuple[str, ...], ...] = ()
    again: tuple[str, ...] = ()
    title: str = ""

    def shown(self) -> str:
        """Return nothing: it is of no interest as long as all goes well."""
        return ""

    def do(self, machine: Machine) -> Undo:
        """Do nothing but remember the commands."""

        def undo() -> None:
            for each in self.commands:
                machine.run(each)
            if self.again:
                _run_quietly(machine, self.again)

        return undo


class Shortcoming(Exception):
    """A step that need not succeed did not; the text says what that means."""


def carry_out(steps: Iterable[Step], machine: Machine, say: Callable[[str], None]) -> None:
    """Do the steps in order; when one fails, undo those before it and say what was what.

    Raises ConfigurationError, whose advice ends with what became of the steps already done.
    """
    done: list[tuple[Step, Undo]] = []
    for step in steps:
        try:
            done.append((step, step.do(machine)))
        except Shortcoming as shortcoming:
            say(str(shortcoming))
        except TokenError as error:
            raise ConfigurationError(error.cause, _advice(error, _undo(done))) from None
        except BaseException:  # Ctrl-C above all
            _undo(done)
            raise


def _undo(done: Sequence[tuple[Step, Undo]]) -> tuple[list[str], list[str]]:
    """Undo steps, the last first; returns the titles of those undone, and of those that stay."""
    undone, kept = [], []
    for step, undo in reversed(done):
        try:
            undo()
        except (TokenError, OSError) as error:
            kept.append(step.title or str(error).rstrip("."))
        else:
            if step.title and undo is not nothing:
                undone.append(step.title)
    return undone, kept


def _advice(error: TokenError, outcome: tuple[list[str], list[str]]) -> str:
    undone, kept = outcome
    parts = [error.advice]
    if undone:
        parts.append(f"Undone again: {'; '.join(undone)}.")
    if kept:
        parts.append(f"Could not be undone: {'; '.join(kept)}.")
    if not (undone or kept):
        parts.append("Nothing was changed.")
    return "\n".join(part for part in parts if part)


def typed(command: Sequence[str]) -> str:
    """Return a command as one would type it in its own shell."""
    is_windows = command[0] == "schtasks"
    return subprocess.list2cmdline(command) if is_windows else shlex.join(command)


def _run_quietly(machine: Machine, command: Sequence[str]) -> None:
    done = machine.run(command)
    if done.code != 0:
        raise ConfigurationError(f"`{typed(command)}` failed: {done.err.strip()}.")


def content_of(path: str) -> bytes | None:
    """Return a file's content, None if there is none; raises ConfigurationError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _file_error(path, "read", error) from None


def _put_back(path: str, old: bytes | None) -> None:
    if old is None:
        os.unlink(path)
    else:
        _replace(path, old)


def _replace(path: str, content: bytes) -> None:
    """Write a file in one step, so that no scheduler ever reads half of it."""
    # A name of its own, so that nothing lies there; all schedulers pass over such that begin so.
    descriptor, temporary = tempfile.mkstemp(prefix=".broker-tokens-", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, _FILE_MODE)  # whatever the umask
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _file_error(path: str, deed: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be {deed}: {error.strerror}.",
        "Look who owns the file and its folder.",
    )
