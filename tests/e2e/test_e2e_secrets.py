"""Secrets planted everywhere, and every byte that leaves a process searched for them.

strace shows what each program and its children write, send and execute. A secret may go to the
broker, into `.env` and its temporary file, and to standard output where it is the answer.
"""

import os
import re
import shlex
import shutil
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from support.doors import (
    INIT,
    LTP,
    ONCE,
    PASTE,
    PROFILE,
    SERVICE,
    TOKEN,
    UPSTOX_TOKEN,
    consent,
    free_port,
)

from broker_tokens.simulator.wire import Response, json_response

HOOK_PASSWORD = "planted-hook-password-31"
NOTIFIER_SECRET = "planted-notifier-secret-0123456789abcdef"
EXTENDED = "planted-extended-token-99cc"

_TRACED = "write,writev,pwrite64,sendto,sendmsg,execve"
_TRACE = ("strace", "-f", "-yy", "-v", "-s", "200000", "-e", f"trace={_TRACED}", "-o")

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None and not os.environ.get("CI"), reason="strace is not installed"
)


class Sweep:
    """Runs programs under strace and searches what left them."""

    def __init__(self, doors, folder):
        self.doors = doors
        self._folder = folder
        self._number = 0
        self.answers = ()  # what the next program may print

    def run(self, *command, may_print=(), may_hand_on=(), **options):
        """Run a program to its end, and search."""
        with self.watch(may_print, may_hand_on) as before:
            return self.doors.run(*command, before=before, hide_out=not may_print, **options)

    @contextmanager
    def watch(self, may_print=(), may_hand_on=()):
        """Give the command that traces another; search its trace when left."""
        self._number += 1
        trace = self._folder / f"trace.{self._number}"
        yield (*_TRACE, str(trace))
        self._search(trace.read_text(encoding="utf-8", errors="replace"), may_print, may_hand_on)

    def _search(self, trace, may_print, may_hand_on):
        secrets = {*self.doors.broker.secrets, HOOK_PASSWORD, NOTIFIER_SECRET}
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""))}
        begin, *lines = trace.splitlines()
        assert "execve(" in begin  # of the program itself: what it was given is not its doing
        for line in lines:
            for found in (form for form in forms if form in line):
                may_go = self._may_go_there(line, found, may_print, may_hand_on)
                assert may_go, f"{found} in {line[:2000]}"

    def _may_go_there(self, line, found, may_print, may_hand_on):
        call, _, rest = line.partition("(")
        if "execve" in call:
            arguments, _, environment = rest.partition("], [")
            return found in may_hand_on and found in environment and found not in arguments
        place = re.match(r"(\d+)<(.*?)>(?:\(deleted\))?,", rest)
        number, where = place.groups() if place else ("", "")
        env_file = str(self.doors.env_file)
        if where in (env_file, f"{env_file}.broker-tokens-new"):
            return True
        if f"127.0.0.1:{urlsplit(self.doors.url).port}]" in where:
            return True
        # What the user's own commands print is for nobody, or for us, in memory.
        is_of_a_command = where.startswith(("/dev/null", "/memfd:notice"))
        return is_of_a_command or (number == "1" and found in may_print)


@pytest.fixture
def sweep(rotating, tmp_path_factory):
    """A machine with a secret wherever one can be, whose files a wide umask would open to all."""
    traces = tmp_path_factory.mktemp("traces")
    hook = f"json://user:{HOOK_PASSWORD}@127.0.0.1:{free_port()}/x"
    notify = shlex.join([sys.executable, "-c", "import sys; print(open('.env').read())"])
    loud = shlex.join([sys.executable, "-c", "import sys; sys.exit(open('.env').read())"])
    before = os.umask(0)
    rotating.set(
        UPSTOX_NOTIFIER_SECRET=NOTIFIER_SECRET,
        UPSTOX_NOTIFY_URLS=hook,
        UPSTOX_NOTIFY_COMMAND=notify,
        UPSTOX_ON_RENEW=loud,
        UPSTOX_EXTENDED_TOKEN=EXTENDED,
    )
    rotating.broker.secrets.add(EXTENDED)
    yield Sweep(rotating, traces)
    os.umask(before)
    for path in rotating.folder.iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o077, f"{path.name} is {mode:o}"


def log_in(sweep):
    """Log in by pasting the redirect address, as on a machine without a browser."""
    with (
        sweep.watch() as before,
        sweep.doors.start(*INIT, "--no-browser", before=before) as running,
    ):
        address = running.wait_for("/v2/login/authorization/dialog?").split()[-1]
        running.type(consent(address))
        assert running.wait().code == 0
    return sweep.doors.values["access_token"]


def test_a_command_that_is_given_the_token_is_given_nothing_else(sweep):
    """In its environment, not in its arguments; no other secret of `.env` goes along."""
    token = log_in(sweep)
    ended = sweep.run(*UPSTOX_TOKEN, "run", "--", "true", may_hand_on=(token,))

    assert ended.code == 0


def test_every_command(sweep):
    """Login, every command at rest and at work, logout: the token is printed by `token` alone."""
    token = log_in(sweep)
    for arguments in (
        *(("status",), ("status", "--json"), ("check",), ("renew",), ("renew", "--phone")),
        *(("doctor",), ("notify", "--test"), ("--help",), ("token", "--min-valid", "0s", "extra")),
    ):
        sweep.run(*UPSTOX_TOKEN, *arguments)
    token = sweep.doors.values["access_token"]
    shown = sweep.run(*UPSTOX_TOKEN, "token", may_print=(token,))
    address = sweep.run(
        *(*UPSTOX_TOKEN, "notifier", "--url", "http://127.0.0.1:1"), may_print=(NOTIFIER_SECRET,)
    )
    pasted = sweep.run(*PASTE, stdin=sweep.doors.broker.mint() + "\n")
    left = sweep.run(*UPSTOX_TOKEN, "logout")

    assert shown.out == f"{token}\n"
    assert NOTIFIER_SECRET in address.out
    assert (pasted.code, left.code) == (0, 0)


def echo(sweep, status):
    """Return a reply that repeats every secret, as some error pages do."""
    entry = {"error_code": "UDAPI100500", "message": " ".join(sorted(sweep.doors.broker.secrets))}
    return json_response({"status": "error", "errors": [entry]}, status)


@pytest.mark.parametrize("verbose", [False, True])
def test_every_error(sweep, verbose):
    """Errors of the broker that repeat what they were sent, of the files, of the settings."""
    log_in(sweep)
    level = ("-v",) if verbose else ()
    broker = sweep.doors.broker
    for status in (400, 401, 403, 429, 500):
        for path in (TOKEN, LTP, PROFILE):
            broker.answers[path] = echo(sweep, status)
        sweep.run(*ONCE, "--force", *level)
        if status in (401, 500):
            sweep.run(*UPSTOX_TOKEN, "check")
            sweep.run(*PASTE, stdin=broker.mint() + "\n")
    broker.answers[TOKEN] = Response(200, {}, " ".join(sorted(broker.secrets)).encode())
    sweep.run(*ONCE, "--force", *level)
    broker.answers.clear()
    good = sweep.doors.env_file.read_text(encoding="utf-8")
    for bad in ('UPSTOX_CLIENT_SECRET="', "UPSTOX_SESSION=", "UPSTOX_REDIRECT_URI="):
        sweep.doors.env_file.write_text(f"{good}{bad}{EXTENDED}\n", encoding="utf-8")
        assert sweep.run(*ONCE, *level).code == (0 if '"' in bad else 78)
    sweep.doors.env_file.write_text(good, encoding="utf-8")
    sweep.doors.set(UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
    assert sweep.run(*ONCE, "--force", *level).code == 75


def test_the_daemon_and_its_children(sweep):
    """A service with -v and a listener: its output, its process, and the children it starts."""
    log_in(sweep)
    seen = sweep.doors.folder / "seen"
    look = (
        "import os, resource, sys; me = '/proc/self/';"
        f"out = os.open({str(seen)!r}, os.O_WRONLY | os.O_CREAT, 0o600);"
        "os.write(out, open(me + 'cmdline', 'rb').read() + open(me + 'environ', 'rb').read());"
        "os.write(out, b'core %d' % resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    sweep.doors.set(UPSTOX_ON_RENEW=shlex.join([sys.executable, "-c", look]), access_token="")
    # Whoever starts it by `set -a; . ./.env`, or systemd's EnvironmentFile=, hands it all of this.
    environ = sweep.doors.values
    with (
        sweep.watch() as before,
        sweep.doors.start(
            *SERVICE, "-v", "--listen", str(free_port()), before=before, environ=environ
        ) as running,
    ):
        running.wait_for("UPSTOX_ON_RENEW has run")
        pid = int(re.search(r"\d+", (sweep.doors.folder / ".env.service.lock").read_text())[0])
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
        os.kill(pid, 15)
        assert running.wait().code == 0
    child = seen.read_bytes()

    assert re.search(r"Max core file size +0 ", limits)
    assert child.endswith(b"core 0")
    for secret in {*sweep.doors.broker.secrets, HOOK_PASSWORD, NOTIFIER_SECRET}:
        assert secret.encode() not in command_line + child


@pytest.mark.parametrize("name", [".env", ".env.state.json"])
def test_a_start_removes_what_a_crash_left(doors, name):
    """Though nothing is due and nothing is written: half a token may be in it."""
    doors.log_in()
    assert doors.run(*ONCE).code == 0
    left = doors.folder / f"{name}.broker-tokens-new"
    left.write_text("access_token=ha", encoding="utf-8")
    before = doors.env_file.read_bytes()
    with doors.start(*SERVICE) as running:
        running.wait_for("Next:")
        running.stop()

    assert not left.exists()
    assert doors.env_file.read_bytes() == before


def test_a_readable_env_file_is_reported(rotating):
    """Its mode is the user's business, and is kept; what it means is said."""
    rotating.log_in()
    rotating.set(access_token="")
    rotating.env_file.chmod(0o644)
    assert rotating.run(*ONCE).code == 0
    login = rotating.run(*PASTE, stdin=rotating.broker.mint() + "\n")
    shown = rotating.run(*UPSTOX_TOKEN, "status")

    for said in (rotating.log.read_text(encoding="utf-8"), login.err, shown.err):
        assert "can be read by other users" in said
        assert "chmod 600" in said
    assert stat.S_IMODE(rotating.env_file.stat().st_mode) == 0o644
