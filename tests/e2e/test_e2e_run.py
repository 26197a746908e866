"""`upstox-token run -- COMMAND`: the command as it is seen from outside."""

import hashlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.doors import ONCE, UPSTOX_TOKEN

SHOW = (
    "import os, hashlib; t = os.environ['UPSTOX_ACCESS_TOKEN'];"
    " print('has', hashlib.sha256(t.encode()).hexdigest()[:8], t == os.environ['access_token'],"
    " flush=True)"
)
STAY = f"{SHOW}; import signal; signal.pause()"
POLITE = (
    "import signal, sys, os\n"
    "def end(number, frame): print('got', signal.Signals(number).name, flush=True); sys.exit(7)\n"
    "for n in ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'): signal.signal(getattr(signal, n), end)\n"
    f"{SHOW}\nsignal.pause()"
)
STUBBORN = (
    "import signal\n"
    "signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
    f"{SHOW}\nwhile True: signal.pause()"
)


def fingerprint(token):
    return hashlib.sha256(token.encode()).hexdigest()[:8]


# As a terminal starts it, also where the tests themselves run under nohup.
HEEDING_HUP = (
    *(sys.executable, "-c"),
    (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        " os.execvp(sys.argv[1], sys.argv[1:])"
    ),
)


def run(*options):
    """Return the command line of `run` with these options."""
    return (*UPSTOX_TOKEN, "run", *options, "--")


def python(code):
    return (sys.executable, "-c", code)


def _read(path):
    with suppress(OSError):
        return path.read_bytes()
    return b""


def is_running(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def test_the_command_has_the_token_in_its_environment(doors):
    """Under both names; its output is its own."""
    token = doors.log_in()
    ended = doors.run(*run(), *python(SHOW))

    assert ended.code == 0
    assert ended.out == f"has {fingerprint(token)} True\n"
    assert ended.err == ""


def test_an_older_token_of_the_environment_does_not_count(doors):
    """`.env` does."""
    token = doors.log_in()
    old = {"access_token": "yesterday", "UPSTOX_ACCESS_TOKEN": "yesterday"}
    ended = doors.run(*run(), *python(SHOW), environ=old)

    assert ended.out == f"has {fingerprint(token)} True\n"


@pytest.mark.parametrize("code", [0, 1, 42])
def test_its_exit_code_is_ours(doors, code):
    """When it ends by itself."""
    doors.log_in()

    assert doors.run(*run(), *python(f"raise SystemExit({code})")).code == code


def test_its_arguments_arrive_as_they_are(doors):
    """Dashes, blanks and a second `--` among them."""
    doors.log_in()
    show = "import sys; print(sys.argv[1:])"
    ended = doors.run(*run(), *python(show), "--env-file", "a b", "--", "-x")

    assert ended.out == "['--env-file', 'a b', '--', '-x']\n"


def test_it_reads_our_standard_input(doors):
    """A pipe goes on to it."""
    doors.log_in()
    ended = doors.run(*run(), *python("print(input())"), stdin="a line\n")

    assert ended.out == "a line\n"


def test_a_command_killed_by_a_signal_ends_as_in_a_shell(doors):
    """128 and the signal's number."""
    doors.log_in()
    ended = doors.run(*run(), *python("import os; os.kill(os.getpid(), 9)"))

    assert ended.code == 128 + 9


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/", 126)])
def test_a_command_that_cannot_be_started_is_named(doors, command, code):
    """With the codes of shells."""
    doors.log_in()
    ended = doors.run(*run(), command)

    assert ended.code == code
    assert ended.err.startswith(f"{command} cannot be started: ")


def test_without_a_token_nothing_is_started(doors):
    """A person must act, and is told how."""
    ended = doors.run(*run(), *python("print('started')"))

    assert (ended.code, ended.out) == (77, "")
    assert "init_tokens.py" in ended.err


def test_it_can_wait_for_the_first_token(doors):
    """As a unit that starts at boot does; the token is there at 08:30."""
    with doors.start(*run("--wait"), *python(SHOW)) as running:
        running.wait_for("Waiting for a token.")
        token = doors.log_in()
        ended = running.wait()

    assert ended.code == 0
    assert ended.out == f"has {fingerprint(token)} True\n"


def test_told_to_end_while_it_waits_it_ends(doors):
    """Nothing was started."""
    with doors.start(*run("--wait"), *python(SHOW)) as running:
        running.wait_for("Waiting for a token.")
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait()

    assert (ended.code, ended.out) == (128 + 15, "")


def test_a_new_token_starts_the_command_again(rotating):
    """The old one is told to end; the new one has the new token."""
    first = rotating.log_in()
    with rotating.start(*run(), *python(POLITE)) as running:
        running.wait_for(fingerprint(first))
        assert rotating.run(*ONCE, "--force").code == 0
        running.wait_for("got SIGTERM")
        second = rotating.values["access_token"]
        running.wait_for(fingerprint(second))
        running.process.send_signal(signal.SIGINT)
        ended = running.wait()

    assert ended.code == 7
    assert ended.out.count("has ") == 2
    assert "started again" in ended.err


def test_a_command_that_does_not_end_in_time_is_killed(rotating):
    """Two strategies with two tokens would trade twice."""
    first = rotating.log_in()
    with rotating.start(*run("--grace", "0s"), *python(STUBBORN)) as running:
        running.wait_for(fingerprint(first))
        rotating.run(*ONCE, "--force")
        running.wait_for(fingerprint(rotating.values["access_token"]))
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait()

    assert ended.code == 128 + 9
    assert ended.err.count("is killed") == 2


def test_what_the_command_has_started_ends_with_it(rotating):
    """A shell's child holds the old token, too."""
    rotating.log_in()
    script = f'"{sys.executable}" -c "{STAY}" & echo child $!; wait; exit 3'
    with rotating.start(*run(), "sh", "-c", script) as running:
        running.wait_for("has ")
        child = next(line for line in running.said.splitlines() if "child" in line).split()[1]
        rotating.run(*ONCE, "--force")
        running.wait_for(fingerprint(rotating.values["access_token"]))
        is_left = is_running(child)
        running.process.send_signal(signal.SIGTERM)
        running.wait()

    assert not is_left


def test_a_command_that_renews_and_ends_is_not_started_again(rotating):
    """It has done its work, and the new token is its own doing."""
    rotating.log_in()
    renew = "from upstox_token_manager import UpstoxTokenManager as M; M().refresh_access_token()"
    ended = rotating.run(*run(), *python(f"{renew}; {SHOW}"))

    assert ended.code == 0
    assert ended.out.count("has ") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_are_passed_on(doors, name):
    """Once each, and the command's own end is ours."""
    doors.log_in()
    with doors.start(*run(), *python(POLITE), before=HEEDING_HUP) as running:
        running.wait_for("has ")
        running.process.send_signal(getattr(signal, name))
        ended = running.wait()

    assert ended.code == 7
    assert ended.out.count(f"got {name}\n") == 1


def test_the_token_is_on_no_command_line(doors):
    """Not of ours and not of the command's."""
    token = doors.log_in()
    with doors.start(*run(), *python(STAY)) as running:
        running.wait_for("has ")
        command_lines = [_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        running.process.send_signal(signal.SIGTERM)
        running.wait()

    assert not [line for line in command_lines if token.encode() in line]


def test_a_dead_token_leaves_the_command_alone_until_there_is_a_new_one(doors):
    """It may want to close its positions; a restart without a token would help nobody."""
    token = doors.log_in()
    with doors.start(*run(), *python(POLITE)) as running:
        running.wait_for(fingerprint(token))
        doors.set(access_token="")
        doors.run(*UPSTOX_TOKEN, "status")
        new = doors.log_in()
        running.wait_for(fingerprint(new))
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait()

    assert ended.out.count("has ") == 2


def test_what_nohup_has_ignored_stays_ignored(doors):
    """The terminal is closed; the strategy goes on."""
    doors.log_in()
    with doors.start(*run(), *python(STAY), before=("nohup",)) as running:
        running.wait_for("has ")
        running.process.send_signal(signal.SIGHUP)
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait()

    assert ended.code == 128 + signal.SIGTERM
