"""Made-up `.env` files: every byte but our values is kept, and every reader reads those.

A file is put together from pieces whose outcome is known beforehand, so that no parser judges
itself. Readers other than python-dotenv are asked about files whose old content they understood.
"""

import json
import logging
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import dotenv

from broker_tokens.env_text import EnvText
from proofs.finding import Finding

UPDATES = {
    "access_token": "eyJ0eXAi.eyJzdWIi-._:+9",
    "UPSTOX_REFRESH_TOKEN": "new-refresh.2==",
    "UPSTOX_TOKEN_EXPIRES_AT": "2026-11-25T03:30:00+05:30",
}

_INDENTS = (b"", b"", b" ", b"\t")
_EXPORTS = (b"", b"", b"export ", b"export \t")
_EQUALS = (b"=", b"=", b"=", b" = ", b"= ", b" =")
_TAILS = (b"", b"", b" # note", b"\t# x='", b"  ")
_OLD = (b"old", b"'o # p'", b'"o \\" p"', b"o#p", b"a=b==", b"${A}", b"C:\\dir", b"\xfc\xff", b"")
_FOREIGN = (
    *(b"", b"   ", b"# a comment with access_token=x and ' in it", b"A=1", b"A=2", b"F==", b"E"),
    *(b"export B='two words' # b", b'C="\\"quoted\\""', b"D=C:\\dir", b"H=a$b", b"I=pa${HOME}ss"),
    *(b"my_access_token=keep", b"G='many\naccess_token_=keep\nlines'", b'J="a\\\nb"', b"K=v   "),
    *(b"latin=\xfc\xe9", "₹=₹".encode(), b"not a setting", b"L=a#b", b"M='#'", b"N=\\"),
)
_NO_LINE_END = 0.15

# What sh, systemd and npm's dotenv understand too, each but for a few.
_TAME_OLD = (b"old", b"'o # p'", b'"o p"', b"a=b==", b"")
_TAME_FOREIGN = (
    *(b"", b"   ", b"# a comment with access_token=x and ' in it", b"A=1", b"A=2", b"F=="),
    *(
        b"B='two words'",
        b'C="d e"',
        b"my_access_token=keep",
        b"G='many\naccess_token_=keep\nlines'",
    ),
    *(b"export H=1", b"latin=\xc3\xbc", b"M='#'", b"N=a.b-c_d:/e"),
)

Values = dict[str, str]
Reader = Callable[[list[Path]], list[Values | None]]


@dataclass(frozen=True)
class Sample:
    """A file, and what it must be after the write."""

    before: bytes
    after: bytes


def samples(seed: int, *, tame: bool = False) -> Iterator[Sample]:
    """Yield files for ever, the same for the same seed; `tame` ones more readers understand."""
    dice = random.Random(seed)
    while True:
        yield _sample(dice, *((_TAME_FOREIGN, _TAME_OLD) if tame else (_FOREIGN, _OLD)))


def _sample(dice: random.Random, foreign: Sequence[bytes], olds: Sequence[bytes]) -> Sample:
    before = after = dice.choice((b"", b"", b"", b"\xef\xbb\xbf"))
    ends = dice.choice(((b"\n",), (b"\r\n",), (b"\n", b"\r\n"), (b"\r",)))
    missing = list(UPDATES)
    lines = dice.randrange(9)
    for number in range(lines):
        is_own = dice.random() < 0.4
        old, new = _own_line(dice, missing, olds) if is_own else [dice.choice(foreign)] * 2
        end = dice.choice(ends)
        if number == lines - 1 and old.strip() and dice.random() < _NO_LINE_END:
            end = b""
        before, after = before + old + end, after + new + end
    return Sample(before, _with_new_lines(after, before, missing))


def _own_line(
    dice: random.Random, missing: list[str], olds: Sequence[bytes]
) -> tuple[bytes, bytes]:
    key = dice.choice(list(UPDATES))
    if key in missing:
        missing.remove(key)
    value = dice.choice(olds)
    # Blanks after an empty value belong to what follows it.
    equals = dice.choice(_EQUALS) if value else b"="
    head = dice.choice(_INDENTS) + dice.choice(_EXPORTS) + key.encode() + equals
    tail = dice.choice(_TAILS)
    return head + value + tail, head + UPDATES[key].encode() + tail


def _with_new_lines(after: bytes, before: bytes, missing: list[str]) -> bytes:
    if not missing:
        return after
    plain = before.replace(b"\r\n", b"")
    end = b"\n" if b"\n" in plain else b"\r\n" if b"\r\n" in before else b"\r"
    end = end if b"\n" in before or b"\r" in before else b"\n"
    if after.removeprefix(b"\xef\xbb\xbf") and not after.endswith((b"\n", b"\r")):
        after += end
    if after.endswith(b"\\" + end):
        after += end
    return after + b"".join(f"{key}={UPDATES[key]}".encode() + end for key in missing)


def python_dotenv(content: bytes) -> Values:
    """Return what python-dotenv reads, without interpolation; a key without `=` is left out."""
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # it warns of what these files are
    stream = StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    values = dotenv.dotenv_values(stream=stream, interpolate=False)
    return {key: value for key, value in values.items() if value is not None}


def bytes_are_kept(count: int, seed: int = 1) -> Finding:
    """Write `count` files; compare every byte, and read each with python-dotenv."""
    finding = Finding()
    for _, sample in zip(range(count), samples(seed), strict=False):
        text = EnvText(sample.before).with_values(UPDATES)
        if text != sample.after:
            finding.broken.append(f"{sample.before!r} became {text!r}")
        elif not python_dotenv(text).items() >= UPDATES.items():
            finding.broken.append(f"python-dotenv misreads {text!r}")
    finding.tried = finding.survived = f"{count:,} files"
    return finding


def readers_agree(count: int, seed: int = 2) -> Finding:
    """Have sh, systemd's own parser and npm's dotenv read the files that they read before."""
    finding = Finding()
    asked: Counter[str] = Counter()
    readers = installed_readers()
    with tempfile.TemporaryDirectory() as name:
        pairs = list(_written(Path(name), count, seed))
        for reader, read in readers.items():
            olds = read([old for old, _ in pairs])
            news = read([new for _, new in pairs])
            for (before, after), old, new in zip(pairs, olds, news, strict=True):
                if old is None or not _understood(reader, before.read_bytes(), old):
                    continue
                asked[reader] += 1
                if new is None or not new.items() >= UPDATES.items():
                    finding.broken.append(f"{reader} misreads {after.read_bytes()!r}: {new}")
    finding.tried = ", ".join(f"{reader} {asked[reader]:,}" for reader in readers)
    finding.survived = f"of {count:,} files those that the reader understood before the write"
    return finding


def _written(folder: Path, count: int, seed: int) -> Iterator[tuple[Path, Path]]:
    for number, sample in zip(range(count), samples(seed, tame=True), strict=False):
        old, new = folder / f"{number}.old", folder / f"{number}.new"
        old.write_bytes(sample.before)
        new.write_bytes(EnvText(sample.before).with_values(UPDATES))
        yield old, new


def _understood(reader: str, before: bytes, values: Values) -> bool:
    """Whether a reader made of a file what python-dotenv makes of it.

    sh knows no CR, and takes what follows a blank for another word; systemd knows no BOM.
    """
    if reader == "sh" and re.search(rb"\r|=[ \t]", before):
        return False
    if reader == "systemd" and before.startswith(b"\xef\xbb\xbf"):
        return False
    return values == python_dotenv(before)


def installed_readers() -> dict[str, Reader]:
    """Return the readers that this machine has."""
    readers: dict[str, Reader] = {"sh": _sh}
    if _SYSTEMD.exists():
        readers["systemd"] = _systemd
    if shutil.which("node") and (_NPM / "node_modules" / "dotenv").exists():
        readers["npm dotenv"] = _npm
    return readers


_ENV0 = "env -0"
_BARE = {"PATH": "/usr/bin:/bin"}
_OF_THE_SHELL = {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def _sh(paths: list[Path]) -> list[Values | None]:
    return [_values_of(["sh", "-ec", f'set -a; . "$1"; {_ENV0}', "sh", str(p)]) for p in paths]


def _values_of(command: list[str]) -> Values | None:
    ended = subprocess.run(command, env=_BARE, capture_output=True, check=False)
    if ended.returncode or ended.stderr:
        return None
    pairs = ended.stdout.decode("utf-8", "surrogateescape").split("\0")
    values = dict(pair.split("=", 1) for pair in pairs if pair)
    return {key: value for key, value in values.items() if key not in _OF_THE_SHELL}


# Reads `environment.d` with the parser of EnvironmentFile=, and runs without a booted systemd.
_SYSTEMD = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")


def _systemd(paths: list[Path]) -> list[Values | None]:
    of_the_machine = (_read_by_systemd(Path(os.devnull)) or {}).keys()
    found = [_read_by_systemd(path) for path in paths]
    return [v and {k: v[k] for k in v.keys() - of_the_machine} for v in found]


def _read_by_systemd(path: Path) -> Values | None:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "environment.d")
        folder.mkdir()
        (folder / "1.conf").write_bytes(path.read_bytes())
        ended = subprocess.run(
            [str(_SYSTEMD)],
            env={"XDG_CONFIG_HOME": home, "HOME": home},
            capture_output=True,
            check=False,
        )
    # What it prints is quoted for a shell, so that a shell tells the values.
    if ended.returncode or ended.stderr or not ended.stdout:
        return {} if ended.returncode == 0 and not ended.stderr else None
    with tempfile.NamedTemporaryFile() as file:
        file.write(ended.stdout)
        file.flush()
        return _values_of(["bash", "-ec", f'set -a; . "$1"; {_ENV0}', "bash", file.name])


_NPM = Path(__file__).parents[1] / "tests" / "integration" / "npm_dotenv"


def _npm(paths: list[Path]) -> list[Values | None]:
    ended = subprocess.run(
        ["node", str(_NPM / "read.cjs")],
        input=json.dumps([os.fspath(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[Values | None] = json.loads(ended.stdout)
    return found
