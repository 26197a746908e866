"""Whether what a scheduler's file says is about the `.env` in question."""

import os
import shlex
from itertools import pairwise

from broker_tokens.install.job import PROGRAM


def is_same(one: str, other: str) -> bool:
    """Whether two paths lead to one `.env`, symbolic links followed."""
    real = (os.path.normcase(os.path.realpath(path)) for path in (one, other))
    return len(set(real)) == 1


def env_of_shell(command: str, home: str) -> str | None:
    """Return the `.env` that a shell's command line looks after, None if it is no work of ours."""
    if PROGRAM not in command:
        return None
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:  # an open quote
        words = command.split()
    words = [_with_home(word, home) for word in words]
    for word, following in pairwise(words):
        if word == "--env-file":
            return following
        if word.startswith(("--env-file=", "UPSTOX_ENV_FILE=")):
            return word.partition("=")[2]
    if "cd" in words[:-1]:
        return os.path.join(words[words.index("cd") + 1], ".env")
    programs = [word for word in words if word.endswith(PROGRAM)]
    return os.path.join(os.path.dirname(programs[0]) or home, ".env") if programs else None


def _with_home(word: str, home: str) -> str:
    for name in ("$HOME", "${HOME}", "~"):
        if word == name or word.startswith(name + "/"):
            return home + word.removeprefix(name)
    return word
