r"""How systemd writes paths in its units (systemd.syntax(7), systemd.service(5)), and reads them.

`%` begins a specifier everywhere. A command line has quotes, backslashes and `$` on top; a list of
paths has the first two; a lone path (WorkingDirectory=) is taken as it stands.
"""

import re
from collections.abc import Iterator

# What needs no quotes in any list.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@,+=-]+")

# systemd refuses a program's path with these (string_is_safe), and would expand the third.
_NO_PROGRAM = re.compile(r"[\"'\\$]")

# Takes a program of any name as its argument.
_THROUGH_SHELL = ("/bin/sh", "-c", 'exec "$0" "$@"')

_ENDS_BADLY = (" ", "\\")
_SPECIFIER = re.compile(r"%([%h])")
_ESCAPED = re.compile(r"\\(.)|%([%h])|\$(\$)")


def quoted(text: str) -> str:
    """Return a word of a list of paths."""
    text = text.replace("%", "%%")
    if _PLAIN.fullmatch(text.replace("%%", "")):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def argument(text: str) -> str:
    """Return a word of a command line."""
    return quoted(text).replace("$", "$$")


def command_line(words: list[str]) -> str:
    """Return a command line that systemd reads as these words, the first of them the program."""
    if _NO_PROGRAM.search(words[0]):
        words = [*_THROUGH_SHELL, *words]
    return " ".join([quoted(words[0]), *(argument(word) for word in words[1:])])


def lone_path(path: str) -> str:
    """Return the value of a key that is one path."""
    path = path.replace("%", "%%")
    return path + "/" if path.endswith(_ENDS_BADLY) else path


def words_of(line: str, home: str = "") -> list[str]:
    """Return the words of a command line as systemd reads it; %h is `home`, variables stay."""
    words = [_unescaped(word, home) for word in _split(line)]
    if tuple(words[: len(_THROUGH_SHELL)]) == _THROUGH_SHELL:
        return words[len(_THROUGH_SHELL) :]
    return words


def _split(line: str) -> Iterator[str]:
    """Return the words without their quotes, their backslashes still there."""
    word, quote, is_escaped = "", "", False
    is_word = False
    for sign in line:
        if is_escaped:
            word, is_escaped = word + "\\" + sign, False
        elif sign == "\\":
            is_escaped = is_word = True
        elif quote:
            word, quote = (word, "") if sign == quote else (word + sign, quote)
        elif sign in "\"'":
            quote, is_word = sign, True
        elif not sign.isspace():
            word, is_word = word + sign, True
        elif is_word:
            yield word
            word, is_word = "", False
    if is_word:
        yield word


def _unescaped(word: str, home: str) -> str:
    def plain(found: re.Match[str]) -> str:
        return home if found[2] == "h" else found[1] or found[2] or found[3]

    return _ESCAPED.sub(plain, word)


def path_of(value: str, home: str) -> str:
    """Return the path that a key with one path names; %h and ~ are `home`."""
    path = value.removeprefix("-")
    path = "%h" if path == "~" else path
    return _SPECIFIER.sub(lambda found: home if found[1] == "h" else "%", path)


def settings_of(text: str) -> dict[str, str]:
    """Return the keys of a unit, the last of each; sections do not matter to us."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = (line.strip() for line in joined.splitlines())
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#;[")
    return {key.strip(): value.strip() for key, _, value in pairs}
