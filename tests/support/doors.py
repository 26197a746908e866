"""The real programs as processes, before a simulated broker that can be told to misbehave.

Every process is searched, when it ends, for each secret that the broker has seen or given: its
output, its command line, and every file it left beside the `.env`.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from support.scripted_upstox import CLIENT_SECRET, Hang, ScriptedUpstox

from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.server import SimulatorServer
from upstox_token_manager import UpstoxTokenManager

ROOT = Path(__file__).resolve().parents[2]
SERVICE = (str(ROOT / "token_refresh_service.py"),)
ONCE = (*SERVICE, "--once")
INIT = (str(ROOT / "init_tokens.py"),)
PASTE = (*INIT, "--paste-token")
UPSTOX_TOKEN = ("-m", "broker_tokens")

TOKEN = "/v2/login/authorization/token"
LTP = "/v3/market-quote/ltp"
PROFILE = "/v2/user/profile"

REFRESH_TOKEN = "planted-refresh-token-77aa"
LOG_FILE = "upstox_token_refresh.log"

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
_PORTS = itertools.cycle(range(12_000 + 1_000 * _WORKER, 13_000 + 1_000 * _WORKER))

# No program here has more to do than this, even on a busy machine; a test that hangs fails.
LIMIT = 90


@dataclass(frozen=True)
class Ended:
    """How a program ended, and all that it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both outputs."""
        return self.out + self.err


class Running:
    """A program under way; its lines are read as they come, so that no pipe fills up."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.command_lines = [_command_line(process.pid)]
        self._lines: list[str] = []
        self._texts = {"out": "", "err": ""}
        self._cursor = 0
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @property
    def said(self) -> str:
        """All lines so far, of both outputs."""
        with self._news:
            return "\n".join(self._lines)

    def wait_for(self, *texts: str, limit: float = LIMIT) -> str:
        """Return the next line that holds all `texts`; later waits begin after it."""
        give_up_at = time.monotonic() + limit
        with self._news:
            while True:
                while self._cursor < len(self._lines):
                    line = self._lines[self._cursor]
                    self._cursor += 1
                    if all(text in line for text in texts):
                        return line
                left = give_up_at - time.monotonic()
                is_over = not any(reader.is_alive() for reader in self._readers)
                if left <= 0 or is_over:
                    heard = "\n".join(self._lines)
                    raise AssertionError(f"no line with {texts} in:\n{heard}")
                self._news.wait(min(left, 0.5))

    def type(self, text: str) -> None:
        """Write a line to its standard input."""
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> tuple[Ended, float]:
        """Send SIGTERM; return how it ended and after how many seconds."""
        self.command_lines.append(_command_line(self.process.pid))
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(LIMIT)
        seconds = time.monotonic() - began
        return self.wait(), seconds

    def wait(self) -> Ended:
        """Wait for its end."""
        if self.process.stdin is not None:
            with suppress(OSError, ValueError):
                self.process.stdin.close()
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(LIMIT)
            raise AssertionError(f"it did not end; it said:\n{self.said}") from None
        for reader in self._readers:
            reader.join(LIMIT)
        return Ended(code, self._texts["out"], self._texts["err"])

    def _read(self, name: str, stream) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self._texts[name] += line
                    self._lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()


@dataclass
class Doors:
    """One trader's machine: a folder with a `.env`, the broker, and the programs."""

    folder: Path
    broker: ScriptedUpstox
    url: str
    redirect_uri: str
    others: list[ScriptedUpstox] = field(default_factory=list)

    @property
    def env_file(self) -> Path:
        """The `.env`."""
        return self.folder / ".env"

    @property
    def log(self) -> Path:
        """The log file of the service."""
        return self.folder / LOG_FILE

    @property
    def state(self) -> dict:
        """The saved state."""
        return json.loads((self.folder / ".env.state.json").read_text(encoding="utf-8"))

    @property
    def values(self) -> dict[str, str]:
        """The keys of the `.env`; the last line of a key counts."""
        lines = self.env_file.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")

    def write(self, **keys: str) -> None:
        """Make the `.env` anew: what leads to the broker, and `keys`; None leaves one out."""
        values = {
            "UPSTOX_API_URL": self.url,
            "UPSTOX_CLIENT_ID": "sim-client",
            "UPSTOX_CLIENT_SECRET": CLIENT_SECRET,
            "UPSTOX_REDIRECT_URI": self.redirect_uri,
            "access_token": "",
        } | keys
        lines = [f"{key}={value}\n" for key, value in values.items() if value is not None]
        self.env_file.write_text("# kept by hand\n" + "".join(lines), encoding="utf-8")
        self.env_file.chmod(0o600)

    def set(self, **keys: str) -> None:
        """Change keys of the `.env` in one replace, as an editor does; all else stays."""
        text = self.env_file.read_text(encoding="utf-8")
        kept = [line for line in text.splitlines() if line.partition("=")[0] not in keys]
        lines = kept + [f"{key}={value}" for key, value in keys.items()]
        new = self.folder / "new.env"
        new.write_text("\n".join(lines) + "\n", encoding="utf-8")
        new.chmod(0o600)
        new.replace(self.env_file)

    def manager(self) -> UpstoxTokenManager:
        """Return what a strategy uses."""
        return UpstoxTokenManager(self.env_file, environ={})

    def log_in(self) -> str:
        """Log in, in this process, and store the token; returns it."""
        manager = self.manager()
        return manager.get_access_token_from_code(consent(manager.get_authorization_url("s")))

    def run(self, *command: str, stdin: str = "", hide_out: bool = True, **options) -> Ended:
        """Run a program to its end; `hide_out=False` where standard output is the secret."""
        with self.start(*command, hide_out=hide_out, **options) as running:
            with suppress(BrokenPipeError):
                running.process.stdin.write(stdin)
            with suppress(BrokenPipeError):
                running.process.stdin.close()
            return running.wait()

    @contextmanager
    def start(
        self,
        *command: str,
        hide_out: bool = True,
        environ: dict[str, str] | None = None,
        folder: Path | None = None,
        powerless: bool = False,
        before: tuple[str, ...] = (),
        stdin: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        may_raise: bool = False,
    ) -> Iterator[Running]:
        """Start a program in the `.env`'s folder.

        `powerless` takes root's way around file modes; `before` is a command that runs it, such as
        strace; `may_raise` is for a user's own code, which
        shows a traceback when an exception of ours is not caught.
        """
        process = subprocess.Popen(
            [*before, *(_without_powers() if powerless else ()), sys.executable, *command],
            cwd=folder or self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | (environ or {}),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
        )
        running = Running(process)
        try:
            yield running
        finally:
            if process.poll() is None:
                running.command_lines.append(_command_line(process.pid))
                process.kill()
            ended = running.wait()
        assert may_raise or "Traceback" not in ended.said, ended.said
        self._check(ended, running.command_lines, hide_out=hide_out)

    def _check(self, ended: Ended, command_lines: list[str], *, hide_out: bool) -> None:
        """No run may show a secret anywhere but in the `.env`."""
        places = {"stderr": ended.err, "command line": "\n".join(command_lines)}
        if hide_out:
            places["stdout"] = ended.out
        for path in self.folder.iterdir():
            if path.is_file() and path != self.env_file and os.access(path, os.R_OK):
                places[path.name] = path.read_bytes().decode("utf-8", "replace")
        for place, text in places.items():
            for secret in self.broker.secrets.union(*(other.secrets for other in self.others)):
                assert secret not in text, f"a secret is in {place}:\n{text}"


@contextmanager
def open_doors(folder: Path, refresh: RefreshGrant = RefreshGrant.OFF, **rules) -> Iterator[Doors]:
    """Run a scripted broker in real time, and give a `.env` that leads to it."""
    redirect_uri = f"http://localhost:{free_port()}/callback"
    broker = ScriptedUpstox(refresh=refresh, redirect_uri=redirect_uri, **rules)
    with SimulatorServer(broker) as server:
        doors = Doors(folder, broker, server.url, redirect_uri)
        doors.write()
        try:
            yield doors
        finally:
            for answer in broker.answers.values():
                if isinstance(answer, Hang):
                    answer.release.set()


def free_port() -> int:
    """Return a port of this machine that nothing listens on.

    It lies below those that systems give to outgoing connections, or one of them might have it
    before the test does; and each process of the test runner looks in a range of its own.
    """
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free any more")


def consent(address: str) -> str:
    """Do what a person does at the login address; returns the redirect address with its code."""
    with requests.Session() as session:
        session.trust_env = False
        reply = session.get(address, allow_redirects=False, timeout=LIMIT)
    return reply.headers["Location"]


def code_of(address: str) -> str:
    """Return the code in a redirect address."""
    return parse_qs(urlsplit(address).query)["code"][0]


def get(address: str) -> requests.Response:
    """Fetch an address of this machine."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(address, timeout=LIMIT)


def can_be_powerless() -> bool:
    """Whether file modes can be made to count for a program started here."""
    return os.name != "nt" and (os.geteuid() != 0 or shutil.which("setpriv") is not None)


def _without_powers() -> list[str]:
    """Return the command before the command that makes file modes count for root too."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


SIGHUP = getattr(signal, "SIGHUP", None)


def assert_one_clear_message(ended, sentence):
    """One cause, one advice, perhaps a login address; nothing on standard output."""
    lines = [line for line in ended.err.splitlines() if line]
    assert sentence in ended.err
    assert len(lines) <= 5, ended.err
    assert len(lines) == len(set(lines)), f"something is said twice:\n{ended.err}"
    assert ended.out == ""
