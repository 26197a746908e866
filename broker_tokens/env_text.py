"""The text of a `.env`, parsed by python-dotenv's own parser and changed value by value.

Every byte that is not the value of a key we write stays: comments, order, line ends, BOM, `export`,
indent, inline comments, invalid UTF-8. Values are taken as they stand: `${X}` is no variable.
"""

import re
from collections.abc import Collection, Mapping
from io import StringIO
from typing import TYPE_CHECKING

from broker_tokens.errors import StoreError

if TYPE_CHECKING:
    from dotenv.parser import Binding

_BOM = b"\xef\xbb\xbf"

# Unquoted values of these characters read the same in python-dotenv, sh, systemd and npm's dotenv.
# `/` and `=` are there for tokens in standard base64.
_SAFE_VALUE = re.compile(r"[A-Za-z0-9_.:+/=-]*")

# The grammar of dotenv/parser.py, to find where in its line a value stands.
_HEAD = re.compile(r"\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=\#\s]+)")
_EQUALS = re.compile(r"[^\S\r\n]*=")
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_UNQUOTED = re.compile(r"[^\r\n]*")
_INLINE_COMMENT = re.compile(r"\s+#.*")
_BLANKS = re.compile(r"[^\S\r\n]*")


class EnvText:
    """One version of a `.env` file's content."""

    def __init__(self, content: bytes, name: str = ".env") -> None:
        """Parse `content`; raises StoreError if it is not text. `name` is used in messages."""
        if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
            raise StoreError(
                f"{name} is not a UTF-8 text file.",
                "Save it again as UTF-8 (not UTF-16, no zeros).",
            )
        self.content = content
        self._name = name
        self._bom = _BOM if content.startswith(_BOM) else b""
        self._text = content[len(self._bom) :].decode("utf-8", "surrogateescape")
        self._bindings = _parse(self._text)

    @property
    def values(self) -> dict[str, str]:
        """Every key with its value; of duplicates the last counts, as for all readers."""
        return {b.key: b.value or "" for b in self._bindings if b.key is not None}

    @property
    def broken_lines(self) -> tuple[int, ...]:
        """The lines at which the parser could make nothing of the text."""
        return tuple(_first_line(b) for b in self._bindings if b.error)

    def with_values(self, updates: Mapping[str, str]) -> bytes:
        """Return the content with these keys set: in their lines, or in new ones at the end.

        Raises StoreError when the result would not read back as meant; nothing is then to be
        written.
        """
        self._check_values(updates)
        self._check_not_swallowed(updates)
        pieces = [
            _with_value(b.original.string, updates[b.key])
            if b.key is not None and b.key in updates
            else b.original.string
            for b in self._bindings
        ]
        text = self._with_new_lines("".join(pieces), updates)
        self._check_reads_back(text, updates)
        return self._bom + text.encode("utf-8", "surrogateescape")

    def _with_new_lines(self, text: str, updates: Mapping[str, str]) -> str:
        missing = [key for key in updates if key not in self.values]
        if not missing:
            return text
        line_end = _line_end(text)
        if text and not text.endswith(("\n", "\r")):
            text += line_end
        if text.endswith("\\" + line_end):
            # sh and systemd join such a line with the next one: let that be an empty one.
            text += line_end
        return text + "".join(f"{key}={updates[key]}{line_end}" for key in missing)

    def _check_values(self, updates: Mapping[str, str]) -> None:
        for key, value in updates.items():
            if not is_safe_value(value):
                raise StoreError(
                    f"The new value of {key} has characters that readers of {self._name} disagree"
                    " on, so it was not written.",
                    "Tell us which broker sends such tokens.",
                )

    def _check_not_swallowed(self, keys: Collection[str]) -> None:
        """Refuse if a broken line takes one of our lines, or ours another one, for its value."""
        names = "|".join(map(re.escape, keys))
        own_line = re.compile(rf"[\r\n][^\S\r\n]*(?:export\s+)?'?(?:{names})'?\s*=")
        for binding in self._bindings:
            text = binding.original.string.strip()
            if binding.error and own_line.search(text):
                raise self._swallowed(binding)
            # A token has one line: a value of more took the lines below it for a part of itself.
            if binding.key in keys and not _has_one_line(text):
                raise self._swallowed(binding)

    def _check_reads_back(self, text: str, updates: Mapping[str, str]) -> None:
        before = [(b.key, b.value) for b in self._bindings if b.key not in updates]
        bindings = _parse(text)
        after = [(b.key, b.value) for b in bindings if b.key not in updates]
        values = {b.key: b.value for b in bindings}
        if [b for b in before if b[0]] != [b for b in after if b[0]] or any(
            values.get(key) != value for key, value in updates.items()
        ):
            broken = [b for b in self._bindings if b.error]
            raise self._swallowed(broken[0] if broken else None)

    def _swallowed(self, binding: "Binding | None") -> StoreError:
        where = f" (line {_first_line(binding)})" if binding is not None else ""
        return StoreError(
            f"{self._name} has a broken line{where} that would swallow the new token, so nothing"
            " was written.",
            "Close the quotation mark in that line.",
        )


def is_safe_value(value: str) -> bool:
    """Whether all readers of a `.env` agree on this value as it stands, without quotes."""
    return _SAFE_VALUE.fullmatch(value) is not None


def _parse(text: str) -> "list[Binding]":
    from dotenv.parser import parse_stream

    # The parser strips one BOM, so it is given one: whatever else `text` begins with stays.
    bindings = list(parse_stream(StringIO("\ufeff" + text, newline="")))
    if "".join(b.original.string for b in bindings) != text:
        raise StoreError(
            "The python-dotenv of this Python is too old, or of another kind than we know.",
            "Activate the virtual environment (. .venv/bin/activate), or: pip install -r"
            " requirements.txt",
        )
    return bindings


def _line_end(text: str) -> str:
    """Return the line end for new lines: `\\n` unless the file knows only others."""
    ends = set(re.findall(r"\r\n|\n|\r", text)) or {"\n"}
    return next(end for end in ("\n", "\r\n", "\r") if end in ends)


def _has_one_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text


def _first_line(binding: "Binding") -> int:
    """Return the line at which a binding itself begins, blank lines above it not counted."""
    text = binding.original.string
    blank = text[: len(text) - len(text.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _with_value(line: str, value: str) -> str:
    """Return a binding's text with its value alone replaced, unquoted."""
    head = _end(_HEAD, line, 0)
    equals = _EQUALS.match(line, head)
    if equals is None:  # a key without `=`
        return f"{line[:head]}={value}{line[head:]}"
    start = _end(_BLANKS, line, equals.end())
    quoted = _QUOTED.match(line, start)
    if quoted is not None:
        tail = line[quoted.end() :]
        # After a quoted value a comment may follow at once; an unquoted one needs a blank there.
        return f"{line[:start]}{value}{' ' if tail.startswith('#') else ''}{tail}"
    if start > equals.end() and line.startswith("#", start):
        return f"{line[: equals.end()]}{value}{line[equals.end() :]}"
    old = _INLINE_COMMENT.sub("", line[start : _end(_UNQUOTED, line, start)]).rstrip()
    if not old:
        start = equals.end()
    return f"{line[:start]}{value}{line[start + len(old) :]}"


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Return where a pattern that fits at `start` ends (at `start` itself if it does not fit)."""
    match = pattern.match(text, start)
    return match.end() if match else start
