"""What Windows does otherwise with files, as far as Linux can play it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import windows

from broker_tokens import patience
from broker_tokens.durable_file import Replacement, read_bytes, recover
from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_TEMPORARY, StoreError
from broker_tokens.file_names import backup_path
from broker_tokens.patience import Patience

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = b"A=1\r\naccess_token=old\r\n", b"A=1\r\naccess_token=newer\r\n"


@pytest.fixture
def path(tmp_path):
    """The path of a `.env` with the old content."""
    (tmp_path / ".env").write_bytes(OLD)
    return str(tmp_path / ".env")


@pytest.fixture
def refusing(monkeypatch):
    """What is open can be neither replaced nor removed, by the rule of Windows."""
    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, getattr(os, name))
    windows.refuse_what_is_open()


def patient(pause=lambda _: None):
    return Patience((0.0,) * 5, pause)


def replace(path, patience, content=NEW):
    with Replacement(path, patient=patience) as replacement:
        replacement.prepare(len(content))
        replacement.commit(content)


def leftovers(path):
    return set(os.listdir(os.path.dirname(path))) - {os.path.basename(path)}


def test_only_windows_is_met_with_patience():
    """Elsewhere a refusal is final; there, two seconds are given to whoever has the file open."""
    assert patience.of_system("posix").pauses == ()
    assert 2 <= sum(patience.of_system("nt").pauses) < 3
    assert patience.of_system("nt").pauses[0] <= 0.001


def test_a_file_that_is_just_being_read_is_replaced_a_moment_later(path, refusing):
    """A reader that closes the file in time costs a pause, and the file is replaced in one step."""
    inode = os.stat(path).st_ino
    with open(path, "rb") as reader:
        replace(path, patient(lambda _: reader.close()))

    assert Path(path).read_bytes() == NEW
    assert os.stat(path).st_ino != inode
    assert leftovers(path) == set()


def test_a_file_that_stays_open_is_rewritten_in_place(path, refusing):
    """A program that holds the `.env` open for ever does not lose us the token."""
    with open(path, "rb") as reader:
        inode = os.stat(path).st_ino
        replace(path, patient())

        assert reader.read() == NEW
    assert os.stat(path).st_ino == inode
    assert leftovers(path) == set()


def test_a_reader_of_the_backup_does_not_keep_it_there(path, refusing):
    """While a file is rewritten in place readers have the backup open; it is removed after them."""
    backup = backup_path(path)
    Path(backup).write_bytes(NEW)
    with open(backup, "rb") as reader:
        recover(path, patient=patient(lambda _: reader.close()))

    assert Path(path).read_bytes() == NEW
    assert leftovers(path) == set()


def test_what_a_program_lets_nobody_write_is_temporary(path, refusing, monkeypatch):
    """If the file can be neither replaced nor written, the old content stays, nothing is left
    over, and the error says that another program has it open."""
    plain = os.open

    def open_shared_for_reading(name, flags, *mode):
        if name == path and flags & os.O_WRONLY and is_held:
            raise PermissionError(13, "Permission denied", name)
        return plain(name, flags, *mode)

    is_held = False
    monkeypatch.setattr(os, "open", open_shared_for_reading)
    with open(path, "rb"), Replacement(path, patient=patient()) as replacement:
        replacement.prepare(len(NEW))
        is_held = True
        with pytest.raises(StoreError, match="holds it open") as caught:
            replacement.commit(NEW)

    assert caught.value.exit_code == EXIT_TEMPORARY
    assert Path(path).read_bytes() == OLD
    assert leftovers(path) == set()


def test_a_file_that_nobody_may_write_is_found_out_before_anything_is_spent(path, monkeypatch):
    """`os.access` knows no access lists there, so the proof opens the file for writing."""
    plain = os.open

    def guarded(name, flags, *mode):
        if name == path and flags & os.O_WRONLY:
            raise PermissionError(13, "Permission denied", name)
        return plain(name, flags, *mode)

    monkeypatch.setattr(os, "open", guarded)
    with pytest.raises(StoreError, match="Permission denied") as caught:
        Replacement(path, patient=patient()).prepare()

    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert leftovers(path) == set()


def test_a_reader_waits_for_a_file_that_is_missing_for_an_instant(tmp_path):
    """In the instant of the replace the name may be missing; a reader looks again."""
    path = tmp_path / ".env"

    assert read_bytes(str(path), patient=patient(lambda _: path.write_bytes(NEW))) == NEW


def test_a_file_that_is_missing_for_good_is_said_soon(tmp_path):
    """The wait for it is short: a few milliseconds."""
    pauses = []
    waiting = Patience(patience.OF_WINDOWS.pauses, pauses.append)
    with pytest.raises(StoreError, match="No such file"):
        read_bytes(str(tmp_path / ".env"), patient=waiting)

    assert 0 < sum(pauses) < 0.02


# A Python that has no more than it has on Windows.
WORLD = """
import os, sys
from support import windows
import dotenv.parser, dateutil.parser
from time import sleep
sys.modules["fcntl"], sys.modules["msvcrt"] = None, windows.msvcrt
windows.take_away_what_windows_lacks()
windows.refuse_what_is_open()
os.name = "nt"
from broker_tokens import patience
os.name = "posix"
assert patience.HERE is patience.OF_WINDOWS
patience.HERE = patience.Patience(patience.OF_WINDOWS.pauses, lambda seconds: sleep(seconds / 10))
from broker_tokens import file_lock
from broker_tokens.file_metadata import open_to_others
from broker_tokens.store import TokenStore
from broker_tokens.model import State
path = sys.argv[1]
"""


def in_windows(body, *args):
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", WORLD + body, *map(str, args)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_token_is_saved_beside_a_reader(path):
    """Under all rules of Windows at once the token, its state and its lock come to be as ever."""
    body = """
with open(path, "rb"), TokenStore(path).writing() as writer:
    assert type(file_lock.HERE).__name__ == "LockedByte"
    writer.prove_writable()
    writer.save_tokens({"access_token": "newer"}, State())
assert TokenStore(path).load().tokens.access_token.reveal() == "newer"
assert open_to_others(path) is None, "a mode means nothing there"
print(sorted(os.listdir(os.path.dirname(path))))
"""
    assert in_windows(body, path) == "['.env', '.env.lock', '.env.state.json']\n"
    assert Path(path).read_bytes() == NEW


def test_two_writers_lose_nothing_of_each_other(path):
    """By the rules of Windows, too, no write gets lost, none is met half, nothing is left over."""
    body = """
for n in range(10):
    with TokenStore(path).writing() as writer:
        count = int(writer.load().values.get("COUNT", "0"))
        writer.save_tokens({"COUNT": str(count + 1), "access_token": "t%d" % (count + 1)}, State())
    values = TokenStore(path).load().values
    assert values["access_token"] == "t" + values["COUNT"], values
"""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", WORLD + body, path]
    writers = [subprocess.Popen(command, env=environ) for _ in range(2)]

    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert b"COUNT=20\r\n" in Path(path).read_bytes()
    assert leftovers(path) == {".env.lock", ".env.state.json"}
