"""Output and input as Windows has them: none at all, an old code page, a pipe that is closed."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker_tokens.cli import output
from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_DEFECT, EXIT_PERSON, EXIT_USAGE
from broker_tokens.logs import LOG_FILE

ROOT = Path(__file__).resolve().parents[3]

# pythonw.exe, which Task Scheduler starts so that no window opens, has none of the three.
PYTHONW = """
import runpy, sys
sys.stdin = sys.stdout = sys.stderr = None
name, *sys.argv = sys.argv[1:]
sys.argv.insert(0, name)
runpy.run_path(name, run_name="__main__") if name.endswith(".py") else runpy.run_module(
    name, run_name="__main__", alter_sys=True)
"""

COMPLETE = "UPSTOX_API_URL=http://127.0.0.1:1\nUPSTOX_CLIENT_ID=id\nUPSTOX_CLIENT_SECRET=secret\n"


def start(*words, folder, environ=(), stdin=b""):
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **dict(environ)}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=settings, input=stdin, capture_output=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("token_refresh_service.py", "--help"), 0),
        (("token_refresh_service.py", "--no-such"), EXIT_USAGE),
        (("token_refresh_service.py", "--once", "--env-file", "missing"), EXIT_CONFIGURATION),
        (("init_tokens.py", "--no-browser"), EXIT_PERSON),
        (("init_tokens.py", "--paste-token"), EXIT_PERSON),
        (("broker_tokens", "--help"), 0),
        (("broker_tokens", "token"), EXIT_PERSON),
        (("broker_tokens", "status"), EXIT_PERSON),
        (("broker_tokens", "run", "--", "true"), EXIT_PERSON),
        (("broker_tokens", "notify", "--test"), EXIT_CONFIGURATION),
    ],
)
def test_without_any_stream_a_command_does_its_work(tmp_path, words, code):
    """No print, no log line and no usage message fails for want of a stream."""
    (tmp_path / ".env").write_text(COMPLETE)
    name = str(ROOT / words[0]) if words[0].endswith(".py") else words[0]
    ended = start("-c", PYTHONW, name, *words[1:], folder=tmp_path)

    assert ended.returncode == code, ended.stderr


def test_without_any_stream_the_log_file_says_what_is_wrong(tmp_path):
    """What Task Scheduler starts without a window is found out about in the log."""
    (tmp_path / ".env").write_text(COMPLETE + "UPSTOX_SESSION=never\n")
    name = str(ROOT / "token_refresh_service.py")
    ended = start("-c", PYTHONW, name, folder=tmp_path)

    assert ended.returncode == EXIT_CONFIGURATION
    assert "UPSTOX_SESSION" in (tmp_path / LOG_FILE).read_text(encoding="utf-8")


def test_a_code_page_that_lacks_letters_ends_nothing(tmp_path):
    """Redirected output has the old code page: a path it cannot spell is shown in escapes."""
    folder = tmp_path / "टोकन"
    folder.mkdir()
    name = str(ROOT / "token_refresh_service.py")
    words = (name, "--once", "--env-file", str(folder / "missing"))
    ended = start(*words, folder=tmp_path, environ={"PYTHONIOENCODING": "cp1252"})

    assert ended.returncode == EXIT_CONFIGURATION
    assert b"\\u091f\\u094b" in ended.stderr


def test_a_byte_order_mark_before_what_is_pasted_is_no_part_of_it(tmp_path):
    """A pipe of PowerShell may begin with one; the token is judged by itself."""
    (tmp_path / ".env").write_text(COMPLETE)
    name = str(ROOT / "init_tokens.py")
    pasted = "\ufeffhttps://example.com/callback?code=1\r\n".encode()
    ended = start(name, "--paste-token", folder=tmp_path, stdin=pasted)

    assert b"is an address" in ended.stderr

    blank = start(name, "--paste-token", folder=tmp_path, stdin="\ufeff\r\n".encode())
    assert b"Nothing was pasted" in blank.stderr


class ClosedPipe(io.StringIO):
    """What Windows makes of a pipe that nobody reads any more, `upstox-token status | more`."""

    def flush(self):
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_reader_that_went_away_is_no_defect_of_ours(monkeypatch):
    """No report of a defect is asked for; the code is that of a closed pipe everywhere."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    monkeypatch.setattr(sys, "stderr", said)
    code = output.guarded(lambda: output.answer("an answer") or 0)

    assert code == EXIT_DEFECT
    assert said.closed
