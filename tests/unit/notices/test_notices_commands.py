"""A command of the user's: no shell, bounded in time and words, and told none of our secrets."""

import errno
import os
import select
from datetime import timedelta

import pytest

from broker_tokens import programs
from broker_tokens.credentials import CLIENT_SECRET_KEYS
from broker_tokens.notices import commands
from broker_tokens.secrets import Secret, redact
from broker_tokens.store import (
    ACCESS_TOKEN,
    EXTENDED_TOKEN,
    NOTIFIER_SECRET,
    REFRESH_TOKEN,
    TokenStore,
)

PATH = {"PATH": os.defpath}
AMPLE = timedelta(seconds=60)
SHORT = timedelta(seconds=2)  # for what never ends by itself


def run(*words, environ=PATH, limit=AMPLE, hide=redact, stdin=b"", **extra):
    """Run a command that has a minute, of which it needs none."""
    words = [str(word) for word in words]
    return commands.run(words, environ=environ, extra=extra, limit=limit, hide=hide, stdin=stdin)


@pytest.fixture
def script(tmp_path):
    """Write an executable shell script."""

    def write(text, name="script", head="#!/bin/sh\n", mode=0o700):
        path = tmp_path / name
        path.write_text(f"{head}{text}\n", encoding="utf-8")
        path.chmod(mode)
        return path

    return write


@pytest.mark.parametrize(
    "line",
    [
        *("$HOME", "'`touch gone`'", "'$(touch gone)'", ";", "|", "&&", ">", "gone", "*", "~"),
        *("'a b'", '"c d"', "e\\ f", "''", "#"),
    ],
)
def test_there_is_no_shell(script, tmp_path, line):
    """Words are parted and unquoted, and reach the program as they are."""
    program = script(f"""printf '<%s>' "$@" > '{tmp_path}/words'""")
    words = programs.split(f"{program} {line} end")
    finished = run(*words, environ={**PATH, "HOME": "/home/me"})
    expected = line.replace("\\", "").strip("'\"")

    assert finished == commands.Finished()
    assert (tmp_path / "words").read_text() == f"<{expected}><end>"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script", "words"]


def test_what_it_is_given_comes_on_standard_input_whole(script, tmp_path):
    """Also when it is more than a pipe holds, and also when nobody reads it."""
    text = os.urandom(1_000_000)
    reader = script(f"cat > '{tmp_path}/got'")

    assert run(reader, stdin=text).problem == ""
    assert (tmp_path / "got").read_bytes() == text
    assert run("true", stdin=text).problem == ""


def environ_of(tmp_path, script, environ, **extra):
    """Return the environment that a command finds."""
    run(script(f"env -0 > '{tmp_path}/environ'"), environ={**PATH, **environ}, **extra)
    pairs = (tmp_path / "environ").read_text().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


SECRET_KEYS = [
    *(*CLIENT_SECRET_KEYS, ACCESS_TOKEN, REFRESH_TOKEN, EXTENDED_TOKEN, NOTIFIER_SECRET),
    "UPSTOX_NOTIFY_URLS",
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_no_secret_of_ours_is_in_its_environment(script, tmp_path, key):
    """By no name under which the settings or the store know one."""
    found = environ_of(tmp_path, script, {key: "planted-s3cret", "UPSTOX_CLIENT_ID": "i"})

    assert "planted-s3cret" not in str(found)
    assert key not in found
    assert found["UPSTOX_CLIENT_ID"] == "i"


def test_the_users_own_systemd_is_where_a_login_says(script, tmp_path):
    """What names it is kept; it is added only for who has no login's variables."""
    given = environ_of(tmp_path, script, {"XDG_RUNTIME_DIR": "/elsewhere"})
    added = environ_of(tmp_path, script, {}).get("XDG_RUNTIME_DIR")
    place = f"/run/user/{os.geteuid()}"

    assert given["XDG_RUNTIME_DIR"] == "/elsewhere"
    assert added == (place if os.path.isdir(place) else None)


def test_its_environment_is_what_was_given_and_nothing_of_this_process(
    script, tmp_path, monkeypatch
):
    """The surroundings are a parameter; what we tell by outranks a variable of the same name."""
    monkeypatch.setenv("ONLY_HERE", "x")
    given = {"UPSTOX_NOTICE_KIND": "old", "LANG": "C"}
    found = environ_of(tmp_path, script, given, UPSTOX_NOTICE_KIND="alarm", UPSTOX_USER_ID="")

    assert "ONLY_HERE" not in found
    assert found["UPSTOX_NOTICE_KIND"] == "alarm"
    assert (found["LANG"], found["UPSTOX_USER_ID"]) == ("C", "")


@pytest.fixture
def alive(tmp_path):
    """A pipe that reads as ended once no process holds it open any more."""
    path = tmp_path / "alive"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def all_that_was_said():
        said = b""
        while select.select([reader], [], [], 30)[0]:
            piece = os.read(reader, 100)
            if not piece:
                return said
            said += piece
        raise AssertionError(f"still alive: {said!r}")

    all_that_was_said.path = path
    yield all_that_was_said
    os.close(reader)


HANGS = {
    "the command": "exec 3> {alive}; echo up >&3; exec sleep 600",
    "a child of it too": "(exec 3> {alive}; echo up >&3; exec sleep 600) & wait",
    "both ignore SIGTERM": "trap '' TERM; exec 3> {alive}; echo up >&3; sleep 600 & wait; sleep 9",
    "a grandchild ignores it": "(trap '' TERM; exec 3> {alive}; (echo up >&3; sleep 600)) & wait",
}


@pytest.mark.parametrize("text", HANGS.values(), ids=HANGS)
def test_what_hangs_is_ended_with_all_that_it_started(script, alive, text):
    """Politely first, and after that without asking."""
    program = script(text.format(alive=alive.path))
    finished = run(program, limit=SHORT)

    assert alive() == b"up\n"
    assert finished.problem == f"The command {str(program)!r} was ended after 2 s."


def test_the_ended_command_can_tidy_up(script, tmp_path):
    """SIGTERM comes before SIGKILL, and there is time between them."""
    tidy = f"trap 'echo tidy > {tmp_path}/left; exit 0' TERM; sleep 600 & wait"
    run(script(tidy), limit=SHORT)

    assert (tmp_path / "left").read_text() == "tidy\n"


def test_what_it_leaves_in_the_background_is_neither_waited_for_nor_ended(script, tmp_path):
    """A strategy that was restarted goes on."""
    go, out = tmp_path / "go", tmp_path / "out"
    os.mkfifo(go)
    os.mkfifo(out)
    program = script(f"(read line < {go}; echo $line > {out}) &")

    assert run(program) == commands.Finished()
    go.write_text("still here\n")
    assert out.read_text() == "still here\n"


FAILURES = {
    "an exit code": ("exit 3", "failed with exit code 3."),
    "the highest": ("exit 255", "failed with exit code 255."),
    "a signal": ("kill -9 $$", "was ended by signal 9."),
}


@pytest.mark.parametrize(("text", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_one_sentence(script, text, words):
    """It names the command, and how it ended."""
    program = script(f"echo 'the reason' >&2; {text}")
    finished = run(program, "argument")

    assert finished == commands.Finished(f"The command {str(program)!r} {words}", "the reason")


def test_success_is_no_problem_whatever_it_says(script):
    """A warning on standard error is kept; standard output is nobody's."""
    assert run(script("echo out; echo err >&2")) == commands.Finished("", "err")


UNUSABLE = {
    "missing": (dict(name="other"), "No such file or directory"),
    "not executable": (dict(mode=0o600), "Permission denied"),
    "no program": (dict(head="\x00\x01"), "Exec format error"),
    "another's interpreter": (dict(head="#!/no/such/shell\n"), "No such file or directory"),
}


def test_a_secret_before_a_program_is_not_repeated():
    """`KEY=secret program` is a shell's line, and the message no place for the secret."""
    problem = run("APIKEY=planted-hook-99", "true").problem

    assert problem == "The command 'APIKEY' cannot be started: No such file or directory."


@pytest.mark.parametrize(("flaw", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_started_is_one_sentence(script, tmp_path, flaw, reason):
    """With the system's own reason."""
    script("true", **flaw)
    path = str(tmp_path / "script")

    assert run(path).problem == f"The command {path!r} cannot be started: {reason}."


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["/"], "Permission denied"),
        ([""], "Permission denied"),
        (["no-such-program-anywhere"], "No such file or directory"),
        (["true", "a\0b"], "its words are not usable"),
        (["true", "x" * 3_000_000], "Argument list too long"),
    ],
    ids=["a folder", "nothing", "not in PATH", "a NUL", "too long"],
)
def test_words_that_start_nothing_are_one_sentence(words, reason):
    """Nothing is raised, whatever was configured; and the arguments are not repeated."""
    assert run(*words).problem == f"The command {words[0]!r} cannot be started: {reason}."


def test_of_many_words_the_end_is_kept(script):
    """The last line is what tells why; ten megabytes on each output block nothing."""
    flood = "head -c 10000000 /dev/zero | tr '\\0' x"
    finished = run(script(f"{flood}; {flood} >&2; echo ' disk full' >&2; exit 1"))

    assert finished.said.endswith("x disk full")
    assert len(finished.said) == 300


def test_what_it_says_is_one_line_without_control_characters(script):
    """It goes to a log and a terminal; bytes that are no text are marked."""
    text = script("printf 'a\\n\\n\\033[31mred\\a\\tb\\r\\n\\377 \\342\\202\\271' >&2")

    assert run(text).said == "a [31mred b \ufffd \u20b9"


def test_a_secret_that_it_says_is_hidden(script):
    """A script under `set -x` shows what it reads."""
    token = Secret("planted-access-token")
    finished = run(script(f"echo 'token {token.reveal()} is bad' >&2; exit 1"))

    assert finished.said == "token <secret> is bad"


def test_an_open_quote_is_an_error_of_the_line():
    """The settings refuse it before anything is run."""
    with pytest.raises(ValueError, match="quotation"):
        programs.split("tell 'me")


@pytest.mark.parametrize("blanks", [900, 1190, 1200, 5000, 60_000, 65_500, 65_530])
def test_no_end_of_a_secret_is_left_by_a_cut(script, blanks):
    """What is kept is the end of what was said: a secret is looked for before it is cut."""
    secret = Secret("planted-access-token")
    program = script(f"printf '%s%{blanks}s' '{secret.reveal()}' x >&2; exit 1")
    said = run(program).said

    assert said in ("<secret> x", "x")


def test_a_secret_that_a_command_found_by_itself_is_hidden(script, tmp_path):
    """It may read `.env`, and say so; no such value lives in this process."""
    env_file = tmp_path / ".env"
    env_file.write_text("access_token=planted-1\nUPSTOX_NOTIFY_URLS=a://planted-2,b://planted-3\n")
    program = script(f"cat {env_file} >&2; exit 1")
    said = run(program, hide=TokenStore(str(env_file)).redact).said

    assert said == "access_token=<secret> UPSTOX_NOTIFY_URLS=<secret>,<secret>"


def test_what_cannot_be_redacted_is_not_kept(script, tmp_path):
    """Without the `.env`, nobody knows what to hide."""
    hide = TokenStore(str(tmp_path / "gone")).redact

    assert run(script("echo planted >&2; exit 1"), hide=hide).said == ""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no files in memory")
def test_a_full_disk_keeps_no_command_from_running(script, monkeypatch):
    """Its files are in memory."""

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)

    assert run(script("cat >&2; exit 1"), stdin=b"heard").said == "heard"
