"""The log file where another process may have it open, which on Windows keeps it in its place."""

import logging

import pytest

from broker_tokens import logs


@pytest.fixture
def handler(tmp_path, monkeypatch):
    """A log of ours that is full at a thousand bytes, and two old ones."""
    monkeypatch.setattr(logs, "_LARGEST_LOG", 1_000)
    path = tmp_path / "a.log"
    (tmp_path / "a.log.1").write_text("old 1")
    (tmp_path / "a.log.2").write_text("old 2")
    made = logs._PrivateFileHandler(str(path), maxBytes=1_000, backupCount=5)
    made.setFormatter(logging.Formatter("%(message)s"))
    yield made
    made.close()


def write(handler, text):
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, text, (), None))


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_a_full_log_gives_way_to_a_new_one(handler, tmp_path):
    """The old ones move on, the newest of them is number 1."""
    write(handler, "a" * 900)
    write(handler, "b" * 900)

    assert contents(tmp_path) == {
        "a.log": "b" * 900 + "\n",
        "a.log.1": "a" * 900 + "\n",
        "a.log.2": "old 1",
        "a.log.3": "old 2",
    }


def test_a_log_that_cannot_be_moved_is_written_on(handler, tmp_path):
    """No line is lost while it stays in its place, and no old log gives way for nothing."""
    (tmp_path / "a.log.0").mkdir()  # as little as Windows allows where somebody reads the log
    for letter in "abc":
        write(handler, letter * 900)

    expected = "".join(letter * 900 + "\n" for letter in "abc")
    assert contents(tmp_path) == {"a.log": expected, "a.log.1": "old 1", "a.log.2": "old 2"}

    (tmp_path / "a.log.0").rmdir()
    write(handler, "d" * 900)
    assert contents(tmp_path)["a.log.1"] == expected
    assert handler.maxBytes == 1_000
