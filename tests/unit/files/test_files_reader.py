"""The strategy's reader: every change is seen, and an unchanged file is not read again."""

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from broker_tokens.clock import IST
from broker_tokens.file_names import backup_path
from broker_tokens.model import State
from broker_tokens.reader import TokenReader
from broker_tokens.simulator.minting import Mint
from broker_tokens.store import EXPIRES_AT, TokenStore, format_expiry

ENDS = datetime(2026, 11, 25, 3, 30, tzinfo=IST)
NOW = ENDS - timedelta(hours=18)
TOKENS = [
    Mint().access_token("AB1234", NOW + timedelta(seconds=number), ENDS) for number in range(100)
]


class Desk:
    """A reader of a `.env`, its two clocks, and a count of how often a glance was not enough."""

    def __init__(self, path):
        self.path = path
        self.now = NOW
        self.age = timedelta(hours=1)
        self.loads = 0
        self.reader = TokenReader(
            str(path), self.load, now=lambda: self.now.timestamp(), file_clock=self.file_clock
        )

    def load(self):
        self.loads += 1
        tokens = TokenStore(str(self.path)).load().tokens
        if tokens.access_token is None or tokens.expires_at is None:
            return "", 0.0
        return tokens.access_token.reveal(), tokens.expires_at.timestamp()

    def file_clock(self):
        return self.path.stat().st_mtime + self.age.total_seconds()

    def token(self, margin=0.0):
        return self.reader.live_token(margin)


@pytest.fixture
def env_file(tmp_path):
    """A `.env` with a token."""
    path = tmp_path / ".env"
    path.touch()
    save(path, TOKENS[0])
    return path


@pytest.fixture
def desk(env_file):
    """A reader of it."""
    return Desk(env_file)


def save(env_file, token):
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_tokens({"access_token": token, EXPIRES_AT: format_expiry(ENDS)}, State())


def swap_within_one_tick(env_file, old, new):
    """Change the token so that no time, no size and no inode tells of it."""
    before = env_file.stat()
    env_file.write_text(env_file.read_text().replace(old, new))
    os.utime(env_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = env_file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=1)], ids=["fresh", "old"])
def test_every_replace_is_seen(desk, age):
    """A hundred tokens of one length, each told at once."""
    desk.age = age
    for token in TOKENS:
        save(desk.path, token)
        assert desk.token() == desk.token() == token


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=1)], ids=["fresh", "old"])
def test_every_second_replace_is_seen(desk, age):
    """After two replaces the inode may be the old one again; the new token is read all the same."""
    desk.age = age
    for old, new in zip(TOKENS[::2], TOKENS[1::2], strict=True):
        save(desk.path, old)
        save(desk.path, new)
        assert desk.token() == new


def test_two_changes_within_one_tick_of_a_coarse_clock_are_both_seen(desk):
    """On FAT, NFS or an older kernel the second change shows in no metadata at all."""
    desk.age = timedelta(seconds=1)
    assert desk.token() == TOKENS[0]
    swap_within_one_tick(desk.path, TOKENS[0], TOKENS[1])

    assert desk.token() == TOKENS[1]


def test_an_unchanged_file_is_read_once(desk):
    """Once it is older than any clock is coarse, what is in it does not matter any more."""
    assert desk.token() == TOKENS[0]
    swap_within_one_tick(desk.path, TOKENS[0], TOKENS[1])

    assert desk.token() == TOKENS[0]


def test_a_file_that_has_just_changed_is_not_parsed_again(desk):
    """It is read at each call for two seconds and a half; what is the same is known already."""
    desk.age = timedelta(seconds=1)
    desk.path.write_text(f"export access_token='{TOKENS[0]}'\n")
    assert {desk.token() for _ in range(5)} == {TOKENS[0]}
    desk.age = timedelta(seconds=3)
    assert {desk.token() for _ in range(5)} == {TOKENS[0]}

    assert desk.loads == 1


def test_a_token_is_given_up_to_its_last_instant(desk):
    """At 03:30:00 it is dead; a margin counts from the end."""
    desk.now = ENDS - timedelta(seconds=60)
    assert desk.token(59.5) == TOKENS[0]
    assert desk.token(60.0) is None
    desk.now = ENDS - timedelta(milliseconds=1)
    assert desk.token() == TOKENS[0]
    desk.now = ENDS

    assert desk.token() is None


def test_a_change_by_an_editor_is_seen(desk):
    """A file rewritten in place with another token of the same length is read again."""
    assert desk.token() == TOKENS[0]
    text = desk.path.read_text().replace(TOKENS[0], TOKENS[1])
    before = desk.path.stat()
    desk.path.write_text(text)
    os.utime(desk.path, ns=(0, before.st_mtime_ns + 1))

    assert desk.token() == TOKENS[1]


def test_a_time_that_is_set_back_is_seen(desk):
    """`cp -p` of a backup brings an older time."""
    assert desk.token() == TOKENS[0]
    before = desk.path.stat()
    desk.path.write_text(desk.path.read_text().replace(TOKENS[0], TOKENS[1]))
    os.utime(desk.path, ns=(0, before.st_mtime_ns - 10**12))

    assert desk.token() == TOKENS[1]


def test_a_file_is_not_parsed_for_what_a_glance_tells(env_file):
    """An ordinary file with a JWT needs neither python-dotenv nor the state."""

    def load():
        raise AssertionError("the glance was enough")

    assert TokenReader(str(env_file), load, now=NOW.timestamp).live_token() == TOKENS[0]


def test_a_deleted_file_gives_no_token_until_it_is_back(desk):
    """No token is given from memory once the file is gone; restored, it is read again."""
    assert desk.token() == TOKENS[0]
    desk.path.rename(desk.path.with_name("away"))
    assert desk.token() is None
    desk.path.with_name("away").rename(desk.path)

    assert desk.token() == TOKENS[0]


def test_an_unreadable_file_gives_no_token(tmp_path):
    """A folder in its place can be looked at, and not be read; the store will say why."""
    (tmp_path / ".env").mkdir()

    assert Desk(tmp_path / ".env").token() is None


def test_a_switched_link_is_seen(env_file, tmp_path):
    """A link that points to another file gives that file's token."""
    other = tmp_path / "other"
    other.touch()
    save(other, TOKENS[9])
    link = tmp_path / "link"
    link.symlink_to(env_file)
    desk = Desk(link)
    assert desk.token() == TOKENS[0]
    link.unlink()
    link.symlink_to(other)

    assert desk.token() == TOKENS[9]


def test_while_the_file_is_rewritten_in_place_its_backup_is_read(env_file, tmp_path):
    """Half a file is never taken for the whole, by a link neither."""
    link = tmp_path / "link"
    link.symlink_to(env_file)
    whole = env_file.read_text().replace(TOKENS[0], TOKENS[1])
    backup = backup_path(str(env_file))
    with open(backup, "w", encoding="utf-8") as file:
        file.write(whole)
    desk = Desk(link)
    desk.age = timedelta(0)
    assert desk.token() == TOKENS[1]
    env_file.write_text(whole[:100])
    assert desk.token() == TOKENS[1]
    env_file.write_text(whole)
    os.unlink(backup)

    assert desk.token() == TOKENS[1]


def test_threads_never_see_an_older_token_again(desk):
    """Four threads reading while 100 tokens are written see them in order, and the last one."""
    seen = [[] for _ in range(4)]
    order = {token: number for number, token in enumerate(TOKENS)}

    def read_until_the_end(tokens):
        while not tokens or tokens[-1] != order[TOKENS[-1]]:
            tokens.append(order[desk.token()])

    threads = [threading.Thread(target=read_until_the_end, args=(tokens,)) for tokens in seen]
    for thread in threads:
        thread.start()
    for token in TOKENS:
        save(desk.path, token)
    for thread in threads:
        thread.join()

    assert all(len(set(tokens)) > 1 for tokens in seen)
    assert all(tokens == sorted(tokens) for tokens in seen)


def test_the_machines_clocks_are_the_default(env_file):
    """Without parameters a token lives by the machine's time."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    token = Mint().access_token("AB1234", ends - timedelta(hours=2), ends)
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_tokens({"access_token": token, EXPIRES_AT: format_expiry(ends)}, State())

    assert TokenReader(str(env_file), lambda: ("", 0.0)).live_token() == token
    assert TokenReader(str(env_file), lambda: ("", 0.0)).live_token(7200.0) is None
