"""The hard cases of a `.env`, one by one."""

import subprocess
from io import StringIO

import dotenv
import pytest

from broker_tokens.env_text import EnvText
from broker_tokens.errors import EXIT_CONFIGURATION, StoreError

NEW = "eyJ0eXAi.eyJzdWIi-._:+9"

# One row a case: what the file is, and what it is after `access_token` was set to NEW.
KEPT = {
    "an empty file": (b"", b"access_token=@\n"),
    "a BOM and nothing else": (b"\xef\xbb\xbf", b"\xef\xbb\xbfaccess_token=@\n"),
    "a BOM before our line": (b"\xef\xbb\xbfaccess_token=o\n", b"\xef\xbb\xbfaccess_token=@\n"),
    "two BOMs": (
        b"\xef\xbb\xbf\xef\xbb\xbfA=1\n",
        b"\xef\xbb\xbf\xef\xbb\xbfA=1\naccess_token=@\n",
    ),
    "no final line end": (b"A=1", b"A=1\naccess_token=@\n"),
    "our line without a line end": (b"A=1\naccess_token=o", b"A=1\naccess_token=@"),
    "CRLF": (b"A=1\r\naccess_token=o\r\nB=2\r\n", b"A=1\r\naccess_token=@\r\nB=2\r\n"),
    "CRLF, key missing": (b"A=1\r\n", b"A=1\r\naccess_token=@\r\n"),
    "CR": (b"A=1\raccess_token=o\rB=2\r", b"A=1\raccess_token=@\rB=2\r"),
    "CR, key missing": (b"A=1\rB=2", b"A=1\rB=2\raccess_token=@\r"),
    "a stray CRLF among LF": (b"# a\r\nA=1\n", b"# a\r\nA=1\naccess_token=@\n"),
    "export": (b"export access_token=o\n", b"export access_token=@\n"),
    "indent and blanks": (b" \texport  access_token = o  \n", b" \texport  access_token = @  \n"),
    "blank lines with blanks above": (
        b"A=1\n  \n\n access_token=o\n",
        b"A=1\n  \n\n access_token=@\n",
    ),
    "inline comment": (b"access_token=o # mine\n", b"access_token=@ # mine\n"),
    "inline comment after a tab": (b"access_token=o\t# a # b\n", b"access_token=@\t# a # b\n"),
    "a comment for a value": (b"access_token= # paste\n", b"access_token=@ # paste\n"),
    "a # inside the value": (b"access_token=o#p\n", b"access_token=@\n"),
    "a # at the value's start": (b"access_token=#o\n", b"access_token=@\n"),
    "single quotes": (b"access_token='o # p' # mine\n", b"access_token=@ # mine\n"),
    "double quotes": (b'access_token="o \\" p"\t\n', b"access_token=@\t\n"),
    "a comment close to a quote": (b"access_token='o'#c\n", b"access_token=@ #c\n"),
    "a quoted key": (b"'access_token'=o\n", b"'access_token'=@\n"),
    "empty": (b"access_token=\n", b"access_token=@\n"),
    "empty with blanks": (b"access_token=  \nA=1\n", b"access_token=@  \nA=1\n"),
    "empty quotes": (b'access_token=""\n', b"access_token=@\n"),
    "a key without =": (b"access_token\nA=1\n", b"access_token=@\nA=1\n"),
    "an exported key without =": (b"export access_token # c\n", b"export access_token=@ # c\n"),
    "= in the value": (b"access_token=a=b==\n", b"access_token=@\n"),
    "a variable": (b"access_token=${A}x$(B)`C`\n", b"access_token=@\n"),
    "duplicates": (
        b"access_token=o\nA=1\naccess_token=p\n",
        b"access_token=@\nA=1\naccess_token=@\n",
    ),
    "commented out": (b"#access_token=o\nA=1\n", b"#access_token=o\nA=1\naccess_token=@\n"),
    "a longer key": (
        b"my_access_token=1\naccess_token_2=2\n",
        b"my_access_token=1\naccess_token_2=2\naccess_token=@\n",
    ),
    "another case": (b"ACCESS_TOKEN=1\n", b"ACCESS_TOKEN=1\naccess_token=@\n"),
    "UTF-8": (
        "# ₹ लाल\nA=ü\naccess_token=o # ₹\n".encode(),
        "# ₹ लाल\nA=ü\naccess_token=@ # ₹\n".encode(),
    ),
    "latin-1": (
        b"# Stra\xdfe\nA=\xfc\xff\naccess_token=o\n",
        b"# Stra\xdfe\nA=\xfc\xff\naccess_token=@\n",
    ),
    "latin-1 in our own value": (b"access_token=\xfc\n", b"access_token=@\n"),
    "a quoted value of many lines": (
        b'A="x\n y # \nz"\naccess_token=o\n',
        b'A="x\n y # \nz"\naccess_token=@\n',
    ),
    "a hash and quotes elsewhere": (
        b"A='#$\\\\'\nB=\"\\$x\"\naccess_token=o\n",
        b"A='#$\\\\'\nB=\"\\$x\"\naccess_token=@\n",
    ),
    "a broken line that swallows nothing": (
        b"A='oops\naccess_token=o\n",
        b"A='oops\naccess_token=@\n",
    ),
    "words that are no setting": (
        b"hello world\n=\n%\naccess_token=o\n",
        b"hello world\n=\n%\naccess_token=@\n",
    ),
    "a last line ending in a backslash": (b"A=C:\\dir\\\n", b"A=C:\\dir\\\n\naccess_token=@\n"),
    "a last line that is only a backslash": (b"A=1 \\", b"A=1 \\\n\naccess_token=@\n"),
    "form feeds and other blanks": (
        b"\x0cA=1\n\x0b\naccess_token=o\x0c\n",
        b"\x0cA=1\n\x0b\naccess_token=@\x0c\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), KEPT.values(), ids=KEPT)
def test_only_the_value_changes(before, after):
    """Of the whole file our value alone changes, and python-dotenv reads it back."""
    text = EnvText(before).with_values({"access_token": NEW})

    assert text == after.replace(b"@", NEW.encode())
    assert _dotenv(text)["access_token"] == NEW


@pytest.mark.parametrize("before", [before for before, _ in KEPT.values()], ids=KEPT)
def test_the_next_write_changes_nothing_but_the_value(before):
    """A second write of other values leaves all other bytes as the first left them."""
    first = EnvText(before).with_values({"access_token": "a" * 9})
    second = EnvText(first).with_values({"access_token": "b" * 9})

    assert second == first.replace(b"a" * 9, b"b" * 9)


SWALLOWED = {
    "a quote that closes far below": (b"\n# c\nA='oops\naccess_token=o\nB='x'\n", 3),
    "a double quote": (b'A="oops\nC=1\nexport access_token=o\nB="x"\n', 1),
    "CRLF": (b"C=1\r\n\r\nA='oops\r\naccess_token=o\r\nB='x'\r\n", 3),
    "CR": (b"C=1\rA='oops\raccess_token=o\rB='x'\r", 2),
    "a quoted key in it": (b"A='oops\n'access_token'=o\nB='x'\n", 1),
    "our own quote takes the lines below": (b"C=1\naccess_token='oops\nB=2\nD='\n", 2),
}


@pytest.mark.parametrize(("before", "line"), SWALLOWED.values(), ids=SWALLOWED)
def test_an_unterminated_quote_is_refused_by_its_line(before, line):
    """Where a broken line would swallow our value, the error names that line and shows no value."""
    with pytest.raises(StoreError) as caught:
        EnvText(before, "/home/t/.env").with_values({"access_token": NEW})

    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert "/home/t/.env" in str(caught.value)
    assert f"(line {line})" in str(caught.value)
    assert NEW not in str(caught.value)
    assert "oops" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["access_token=o\n".encode("utf-16"), "a=1".encode("utf-16-le"), b"A=1\0\naccess_token=o\n"],
    ids=["UTF-16", "UTF-16 without BOM", "NUL"],
)
def test_what_is_no_utf8_text_is_refused(content):
    """UTF-16 and zeros are an error with advice, never an empty file."""
    with pytest.raises(StoreError, match="UTF-8") as caught:
        EnvText(content)

    assert caught.value.exit_code == EXIT_CONFIGURATION


@pytest.mark.parametrize(
    "value", ["a b", "a'b", 'a"', "a\n", "$a", "a#", "a\\", "\u20b9", "`", ";"]
)
def test_values_that_readers_disagree_on_are_refused(value):
    """A value outside the agreed characters is not written, and not shown."""
    with pytest.raises(StoreError, match="access_token") as caught:
        EnvText(b"").with_values({"access_token": f"planted{value}"})

    assert "planted" not in str(caught.value)


def test_values_are_taken_as_they_stand():
    """No variable is filled in: a secret with `${HOME}` in it is that secret."""
    values = EnvText(b"A='pa${HOME}ss'\nB=${X}\nC=$HOME\nD\nA2=\n").values

    assert values == {"A": "pa${HOME}ss", "B": "${X}", "C": "$HOME", "D": "", "A2": ""}


def test_several_keys_are_set_at_once():
    """Keys that are there change in their lines; missing ones come at the end, in order."""
    text = EnvText(b"B=1 # b\n# end\n").with_values({"C": "3", "B": "2", "D": ""})

    assert text == b"B=2 # b\n# end\nC=3\nD=\n"


SHELL = {
    "plain": b"A=1\naccess_token=o\nB=2\n",
    "exports": b"export A=1\nexport access_token=o\nB=2\n",
    "quotes": b"A='x y'\naccess_token=\"o p\"\nB='#1'\n",
    "comments": b"A=1 # a\naccess_token=o # mine\nB=2\n",
    "a comment for a value": b"A=1\naccess_token= # paste here\nB=2\n",
    "key missing": b"A=1\nB='2'",
    "a trailing backslash": b"A=1\nB=C:\\\\dir\\\n",
    "assignment, then export": b"A=1\naccess_token=o\nexport access_token\nB=2\n",
    "a value of many lines": b"A='x\ny'\naccess_token='o'\nB=2\n",
}


@pytest.mark.parametrize("before", SHELL.values(), ids=SHELL)
def test_sh_reads_it_as_before(before, tmp_path):
    """What `sh` could source it still can, with our value and all others as before."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(before)
    new.write_bytes(EnvText(before).with_values({"access_token": NEW}))

    assert _sourced(new) == {**_sourced(old), "access_token": NEW}


def _sourced(path):
    script = f"set -a; . {path}; env -0"
    output = subprocess.run(["sh", "-ec", script], env={}, capture_output=True, check=True).stdout
    pairs = (pair.split("=", 1) for pair in output.decode().split("\0") if pair)
    return {key: value for key, value in pairs if key in ("A", "B", "access_token")}


def _dotenv(text):
    decoded = text.decode("utf-8", "surrogateescape")
    return dotenv.dotenv_values(stream=StringIO(decoded, newline=""), interpolate=False)
