"""A program that is started and all that it starts, as one; and the words of a command line.

On POSIX that is a process group, which gets signals. Windows has no signals: Ctrl-Break is the one
thing that can be asked of a program there, and only within its console; and no group outlives its
first process, so what is left of a tree is found by `taskkill`.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol

Started = subprocess.Popen[bytes]

_SIGTERM, _SIGKILL = 15, 9

# Of Windows' API, which Python knows there alone: process creation flags, and a console's event.
_CREATE_NEW_PROCESS_GROUP = 0x200
_CREATE_NO_WINDOW = 0x0800_0000
_CTRL_BREAK_EVENT = 1


class Programs(Protocol):
    """How a system starts programs as one with what they start, and how it ends them."""

    @property
    def in_front(self) -> Mapping[str, Any]:
        """What Popen is told for a program that keeps our terminal's output."""

    @property
    def behind(self) -> Mapping[str, Any]:
        """What Popen is told for one that has nothing to do with our terminal."""

    def signal(self, process: Started, number: int) -> None:
        """Pass a signal on; where there are none, ask it to end."""

    def ask_to_end(self, process: Started) -> None:
        """Have all of it end in its own way."""

    def kill(self, process: Started) -> None:
        """Kill whatever of it is left; does not wait."""

    def is_gone(self, process: Started) -> bool:
        """Whether nothing goes on of what the ended program has started."""


class Groups:
    """POSIX: a process group each."""

    in_front: Mapping[str, Any] = {"process_group": 0}
    behind: Mapping[str, Any] = {"start_new_session": True}

    def __init__(self, killpg: Callable[[int, int], None]) -> None:
        self._killpg = killpg

    def signal(self, process: Started, number: int) -> None:
        """Send a signal to all of it."""
        with suppress(ProcessLookupError, PermissionError):
            self._killpg(process.pid, number)

    def ask_to_end(self, process: Started) -> None:
        """Send SIGTERM to all of it."""
        self.signal(process, _SIGTERM)

    def kill(self, process: Started) -> None:
        """Send SIGKILL to all of it."""
        self.signal(process, _SIGKILL)

    def is_gone(self, process: Started) -> bool:
        """Whether the group is empty."""
        try:
            self._killpg(process.pid, 0)
        except OSError:
            return True
        return False


class Trees:
    """Windows: a program and its descendants."""

    in_front: Mapping[str, Any] = {"creationflags": _CREATE_NEW_PROCESS_GROUP}
    behind: Mapping[str, Any] = {"creationflags": _CREATE_NO_WINDOW}

    def __init__(
        self,
        kill: Callable[[int, int], None] = os.kill,
        run: Callable[..., object] = subprocess.run,
    ) -> None:
        """Ask by `kill`, which is `os.kill`, and run `taskkill` by `run`."""
        self._kill = kill
        self._run = run

    def signal(self, process: Started, number: int) -> None:  # noqa: ARG002 -- there is only one
        """Press Ctrl-Break in its console; whoever has none is killed."""
        try:
            self._kill(process.pid, _CTRL_BREAK_EVENT)
        except (OSError, SystemError):  # some versions of Python raise the latter
            self.kill(process)

    def ask_to_end(self, process: Started) -> None:
        """Kill it: a program without a console can be asked for nothing."""
        self.kill(process)

    def kill(self, process: Started) -> None:
        """Kill it with its descendants, and itself in any case."""
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        with suppress(OSError):
            self._run(command, capture_output=True, check=False, **self.behind)
        with suppress(OSError):  # it has ended
            process.kill()

    def is_gone(self, process: Started) -> bool:  # noqa: ARG002 -- nobody can tell
        """Windows does not say whose children a program's own were once it has ended."""
        return True


_KILLPG: Callable[[int, int], None] | None = getattr(os, "killpg", None)


def of_system(killpg: Callable[[int, int], None] | None = _KILLPG) -> Programs:
    """Return this system's way; it has process groups if it can signal them."""
    return Trees() if killpg is None else Groups(killpg)


HERE = of_system()


def without(
    environ: Mapping[str, str], names: Collection[str], *, is_windows: bool = os.name == "nt"
) -> dict[str, str]:
    """Return an environment without these variables; Windows knows one in any case of letters."""
    if not is_windows:
        return {key: value for key, value in environ.items() if key not in names}
    upper = {name.upper() for name in names}
    return {key: value for key, value in environ.items() if key.upper() not in upper}


def split(line: str, *, is_windows: bool = os.name == "nt") -> list[str]:
    """Return a command line's words; there is no shell. Raises ValueError for an open quote."""
    return _split_as_windows(line) if is_windows else shlex.split(line)


# The rule of Microsoft's C runtime: backslashes are plain but before a quotation mark, where each
# two are one, and an odd one makes the mark plain; marks group words, also within a word.
_PIECE = re.compile(r'(?P<slashes>\\*)(?P<mark>")|(?P<blanks>\s+)|(?P<plain>\\+|[^\s"\\]+)')


def _split_as_windows(line: str) -> list[str]:
    words: list[str] = []
    word: str | None = None
    is_quoted = False
    for piece in _PIECE.finditer(line):
        if piece["blanks"] and not is_quoted:
            words += [] if word is None else [word]
            word = None
        elif piece["mark"]:
            pairs, odd = divmod(len(piece["slashes"]), 2)
            word = (word or "") + "\\" * pairs + '"' * odd
            is_quoted ^= not odd
        else:
            word = (word or "") + piece[0]
    if is_quoted:
        raise ValueError("No closing quotation")
    return words if word is None else [*words, word]
