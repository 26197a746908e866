"""The strategy's reader: every change is seen, and an unchanged file is not read again."""

import os
import threading

import pytest

from broker_tokens.errors import StoreError
from broker_tokens.model import State
from broker_tokens.reader import TokenReader
from broker_tokens.store import TokenStore


class CountingStore(TokenStore):
    """A store that counts how often it is read."""

    loads = 0

    def load(self):
        self.loads += 1
        return super().load()


@pytest.fixture
def env_file(tmp_path):
    """A `.env` with a token."""
    path = tmp_path / ".env"
    path.write_text("access_token=token-0000\n")
    return path


def save(env_file, token):
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_tokens({"access_token": token}, State())


def token_of(reader):
    return reader.read().access_token.reveal()


def test_every_replace_is_seen(env_file):
    """500 tokens of one length, each read at once: none is missed, none is read twice."""
    store = CountingStore(str(env_file))
    reader = TokenReader(store)
    for n in range(500):
        save(env_file, f"token-{n:04}")
        assert token_of(reader) == token_of(reader) == f"token-{n:04}"

    assert store.loads == 500


def test_every_second_replace_is_seen(env_file):
    """After two replaces the inode may be the old one again; the new token is read all the same."""
    reader = TokenReader(TokenStore(str(env_file)))
    for n in range(0, 200, 2):
        save(env_file, f"token-{n:04}")
        save(env_file, f"token-{n + 1:04}")
        assert token_of(reader) == f"token-{n + 1:04}"


def test_an_unchanged_file_is_read_once(env_file):
    """A thousand calls read the file once."""
    store = CountingStore(str(env_file))
    reader = TokenReader(store)

    assert {token_of(reader) for _ in range(1000)} == {"token-0000"}
    assert store.loads == 1


def test_a_change_by_an_editor_is_seen(env_file):
    """A file rewritten in place with another token of the same length is read again."""
    reader = TokenReader(TokenStore(str(env_file)))
    assert token_of(reader) == "token-0000"
    env_file.write_text("access_token=token-0001\n")
    os.utime(env_file, ns=(0, env_file.stat().st_mtime_ns + 1))

    assert token_of(reader) == "token-0001"


def test_a_deleted_file_is_an_error_until_it_is_back(env_file):
    """No token is given from memory once the file is gone; restored, it is read again."""
    reader = TokenReader(TokenStore(str(env_file)))
    assert token_of(reader) == "token-0000"
    env_file.rename(env_file.with_name("away"))
    with pytest.raises(StoreError):
        reader.read()
    env_file.write_text("access_token=token-0002\n")

    assert token_of(reader) == "token-0002"


def test_a_switched_link_is_seen(env_file, tmp_path):
    """A link that points to another file gives that file's token, and its state's knowledge."""
    other = tmp_path / "other"
    other.write_text("access_token=token-0009\n")
    link = tmp_path / "link"
    link.symlink_to(env_file)
    reader = TokenReader(TokenStore(str(link)))
    assert token_of(reader) == "token-0000"
    link.unlink()
    link.symlink_to(other)

    assert token_of(reader) == "token-0009"


def test_a_missing_file_is_an_error_each_time(tmp_path):
    """A reader of no file raises at every call, and never remembers nothing as something."""
    reader = TokenReader(TokenStore(str(tmp_path / ".env")))
    for _ in range(2):
        with pytest.raises(StoreError):
            reader.read()


def test_threads_never_see_an_older_token_again(env_file):
    """Four threads reading while 100 tokens are written see them in order, and the last one."""
    reader = TokenReader(TokenStore(str(env_file)))
    seen = [[] for _ in range(4)]

    def read_until_the_end(tokens):
        while not tokens or tokens[-1] != "token-0099":
            tokens.append(reader.read().access_token.reveal())

    threads = [threading.Thread(target=read_until_the_end, args=(tokens,)) for tokens in seen]
    for thread in threads:
        thread.start()
    for n in range(100):
        save(env_file, f"token-{n:04}")
    for thread in threads:
        thread.join()

    assert all(len(set(tokens)) > 1 for tokens in seen)
    assert all(tokens == sorted(tokens) for tokens in seen)
