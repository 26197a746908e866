"""`upstox-token doctor` as a process: it finds what is wrong, and tells no secret."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.doors import LTP, ROOT, SERVICE, TOKEN, UPSTOX_TOKEN, can_be_powerless, free_port
from support.hostile import HostileServer

from broker_tokens.simulator.wire import Response

CLOUDFLARE = Response(403, {"CF-RAY": "8f2a", "Content-Type": "text/html"}, b"<html>1010</html>")


class Told:
    """What a run told, by topic."""

    def __init__(self, ended):
        self.code = ended.code
        self.out = ended.out
        self.err = ended.err
        self.lines = re.findall(r"(?m)^(ok|warn|fail) +([\w. ]+): (.*)$", ended.out)

    def __getitem__(self, topic):
        """The worst level of a topic."""
        levels = [level for level, found, _ in self.lines if found == topic]
        return max(levels, key=["ok", "warn", "fail"].index, default=None)

    def words(self, topic):
        return " ".join(words for _, found, words in self.lines if found == topic)

    @property
    def failures(self):
        return {topic for level, topic, _ in self.lines if level == "fail"}


def examine(doors, *arguments, **options):
    return Told(doors.run(*UPSTOX_TOKEN, "doctor", *arguments, **options))


def test_a_healthy_machine(doors):
    """Nothing fails, each theme has its line, nothing is written, and the last line sums up."""
    doors.log_in()
    before = doors.env_file.read_bytes(), doors.state
    tokens = doors.broker.count(TOKEN)
    told = examine(doors)

    assert (told.code, told.err, told.failures) == (0, "", set())
    for topic in (
        *("python", "versions", "zone", ".env", "writable", "disk", "git", "settings"),
        *("credentials", "redirect", "port", "notifier", "proxy", "broker", "clock"),
        *("token", "price", "account", "feed", "renewal"),
    ):
        assert told[topic] == "ok", topic
    assert told["service"] == "warn"
    assert re.fullmatch(r"\d+ ok, 2 warn, 0 fail\. Session of .*", told.out.splitlines()[-1])
    assert (doors.env_file.read_bytes(), doors.state) == before
    assert doors.broker.count(TOKEN) == tokens


def test_the_report_for_programs(doors):
    """`--json` is format 1: the same findings, one object each."""
    doors.log_in()
    shown = json.loads(doors.run(*UPSTOX_TOKEN, "doctor", "--json").out)

    assert (shown["format"], shown["counts"]["fail"]) == (1, 0)
    assert sum(shown["counts"].values()) == len(shown["findings"])
    for finding in shown["findings"]:
        assert finding.keys() == {"level", "topic", "words", "remedy"}
        assert finding["level"] in ("ok", "warn", "fail")
    assert "Session of" in shown["outlook"]


def test_offline_asks_nobody(doors):
    """Not a packet goes to the broker; from another folder, the file is named whole."""
    doors.log_in()
    before = len(doors.broker.arrived)
    told = examine(doors, "--offline", "--env-file", str(doors.env_file), folder=ROOT)

    assert told.code == 0
    assert len(doors.broker.arrived) == before
    assert "--offline" in told.words("broker")
    assert str(doors.env_file) in told.words(".env")
    assert told["token"] == "ok"


def test_a_clock_that_is_off(doors):
    """The broker's `Date` is what counts; a minute off, 03:31 would be before its 03:30."""
    doors.broker.date_shift = timedelta(hours=1)
    told = examine(doors)

    assert (told.code, told["clock"]) == (78, "fail")
    assert "59 min behind Upstox's" in told.words("clock")


def test_a_port_that_is_taken(doors):
    """Another program at the redirect address would get the login's code."""
    with HostileServer((b"",)) as other:
        doors.set(UPSTOX_REDIRECT_URI=f"http://127.0.0.1:{other.port}/callback")
        told = examine(doors)

    assert told["port"] == "warn"
    assert "in use by another program" in told.words("port")


def test_a_service_that_listens(doors):
    """Our own service is recognised, holds its port by right, and hears the notifier's address."""
    doors.log_in()
    port = urlsplit(doors.redirect_uri).port
    with doors.start(*SERVICE, "--listen", str(port)) as running:
        running.wait_for("Next:")
        told = examine(doors)
        running.stop()

    assert (told["service"], told["port"]) == ("ok", "ok")
    assert str(running.process.pid) in told.words("service")
    assert "our own service" in told.words("port")
    assert "/notifier/..." in told.words("notifier")
    assert doors.values["UPSTOX_NOTIFIER_SECRET"] not in told.out
    assert "Session of" in told.out.splitlines()[-1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
def test_a_second_scheduler_and_a_service_that_hangs(doors):
    """Two units for one `.env` are found where systemd has them; a stopped service is no help."""
    doors.log_in()
    units = Path(os.environ["HOME"], ".config", "systemd", "user")
    units.mkdir(parents=True)
    line = f"{sys.executable} {SERVICE[0]} --env-file {doors.env_file}"
    for name in ("one", "two"):
        (units / f"{name}.service").write_text(f"[Service]\nExecStart={line}\n", encoding="utf-8")
    with doors.start(*SERVICE) as running:
        running.wait_for("Next:")
        alive = examine(doors, "--offline")
        running.send(signal.SIGSTOP)
        long_ago = time.time() - 1_000
        os.utime(doors.folder / ".env.service.lock", (long_ago, long_ago))
        stopped = examine(doors, "--offline")
        running.send(signal.SIGCONT)
        running.stop()

    assert (alive.code, alive["service"]) == (0, "warn")
    assert "2 schedulers" in alive.words("service")
    assert "--uninstall" in alive.out
    assert (stopped.code, stopped["service"]) == (77, "fail")
    assert f"process {running.process.pid} holds its place and hangs" in stopped.words("service")


def test_a_file_that_others_can_read(doors):
    """A warning with the command that mends it, which is all that doctor does about it."""
    doors.log_in()
    doors.env_file.chmod(0o644)
    told = examine(doors)

    assert (told.code, told[".env"]) == (0, "warn")
    assert f"chmod 600 {doors.env_file}" in told.out
    assert doors.env_file.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "topic"),
    [(0o000, 0o755, ".env"), (0o400, 0o755, "writable"), (0o600, 0o555, "writable")],
)
def test_a_file_that_cannot_be_used(doors, file_mode, folder_mode, topic):
    """What cannot be read or written is named, and the rest is still examined."""
    doors.log_in()
    doors.env_file.chmod(file_mode)
    doors.folder.chmod(folder_mode)
    try:
        told = examine(doors, powerless=True, environ={"UPSTOX_API_URL": doors.url})
    finally:
        doors.folder.chmod(0o755)
        doors.env_file.chmod(0o600)

    assert (told.code, told.failures) == (78, {topic})
    assert told["python"] == "ok"
    assert "Client ID/Secret not found" not in told.out, "what is out of reach is not missing"


@pytest.fixture
def git(doors):
    """Make a real repository around the `.env`."""
    if shutil.which("git") is None:
        assert not os.environ.get("CI"), "CI has git"
        pytest.skip("git is not installed")

    def run(*words):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        command = ["git", "-C", str(doors.folder), *identity, *words]
        subprocess.run(command, check=True, capture_output=True)

    run("init")
    return run


def test_git_that_would_take_the_file(doors, git):
    """Not ignored, ignored, tracked, and tracked once: each is told from the others."""
    doors.log_in()
    seen = [examine(doors, "--offline")]
    (doors.folder / ".gitignore").write_text(".env*\n", encoding="utf-8")
    seen.append(examine(doors, "--offline"))
    git("add", "--force", ".env")
    git("commit", "-m", "oops")
    seen.append(examine(doors, "--offline"))
    git("rm", "--cached", ".env")
    git("commit", "-m", "better")
    seen.append(examine(doors, "--offline"))

    assert [(told["git"], told.code) for told in seen] == [
        *(("warn", 0), ("ok", 0), ("fail", 78), ("warn", 0))
    ]
    assert "git rm --cached" in seen[2].out
    assert "older commit" in seen[3].out


def test_cloudflare_in_the_way(doors):
    """A page is not Upstox, and is not shown the token."""
    token = doors.log_in()
    shown = []

    def answer(request, real):
        shown.append(request.bearer())
        return CLOUDFLARE

    doors.broker.answers[LTP] = answer
    told = examine(doors)

    assert (told.code, told["broker"]) == (75, "fail")
    assert "blocked by Cloudflare" in told.words("broker")
    assert token not in shown
    assert told["price"] is None


def test_no_network(doors):
    """Nobody answers: temporary; all that needs no network is examined."""
    doors.log_in()
    doors.set(UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
    told = examine(doors)

    assert (told.code, told.failures) == (75, {"broker"})
    assert "refuses the connection" in told.words("broker")
    assert (told["settings"], told["renewal"]) == ("ok", "ok")


def test_a_proxy_in_the_way(doors):
    """The proxy that refuses is named without its password."""
    doors.log_in()

    def refuse(line):
        line.read_head()
        line.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with HostileServer((refuse,)) as proxy:
        place = f"127.0.0.1:{proxy.port}"
        doors.set(UPSTOX_API_URL="https://broker.example")
        told = examine(doors, environ={"HTTPS_PROXY": f"http://trader:planted-8842@{place}/"})

    assert (told.code, told["broker"]) == (75, "fail")
    assert "The proxy on the way" in told.words("broker")
    assert f"{place} (HTTPS_PROXY)" in told.words("proxy")
    assert "planted" not in told.out + told.err


def test_tls_that_nobody_vouches_for(doors, tmp_path):
    """A certificate of one's own making, as of a proxy that inspects TLS, is told as such."""
    doors.log_in()
    import ssl

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    files = ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=127.0.0.1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", *files], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with HostileServer((b"",), tls=context) as server:
        doors.set(UPSTOX_API_URL=server.url)
        told = examine(doors)

    assert (told.code, told["broker"]) == (75, "fail")
    assert "self-signed certificate" in told.words("broker")


def test_a_dead_token(doors):
    """The broker's word counts; doctor notes nothing down, which is what `check` is for."""
    doors.broker.revoke(doors.log_in())
    before = doors.state
    told = examine(doors)

    assert (told.code, told["token"]) == (77, "fail")
    assert "Token is expired or invalid" in told.words("token")
    assert doors.state == before


def test_a_token_of_the_wrong_class(doors):
    """A read-only token of a year is told from one that may place orders, online and offline."""
    doors.set(access_token=doors.broker.mint_analytics())
    for arguments in ((), ("--offline",)):
        told = examine(doors, *arguments)

        assert (told.code, told["class"]) == (0, "warn")
        assert "read-only" in told.words("class")


@pytest.mark.parametrize("content", [None, b"A='oops\nUPSTOX_CLIENT_SECRET=b\n"])
def test_a_file_that_is_none(doors, content):
    """No file, or an open quote that swallows all: the examination goes to its end."""
    doors.env_file.unlink()
    if content is not None:
        doors.env_file.write_bytes(content)
    told = examine(doors, environ={"UPSTOX_API_URL": doors.url, "UPSTOX_ENV_FILE": ".env"})

    assert told.code == 78
    assert ("No .env file was found" if content is None else "line 1 cannot be read") in told.out
    assert (told["broker"], told["proxy"]) == ("ok", "ok")
    assert re.match(r"\d+ ok, ", told.out.splitlines()[-1])


HIDING = """
import runpy, sys
for name in sys.argv[1].split(","): sys.modules[name] = None
sys.argv = ["upstox-token", *sys.argv[2:]]
runpy.run_module("broker_tokens", run_name="__main__")
"""


@pytest.mark.parametrize("name", ["requests", "dotenv", "schedule", "dateutil"])
def test_without_a_package(doors, name):
    """A Python without one of our packages is told which, and as much else as can be."""
    ended = doors.run("-c", HIDING, name, "doctor", "--offline", "--json")
    (failed,) = [f for f in json.loads(ended.out)["findings"] if f["topic"] == "packages"]

    assert ended.code == 78
    assert name in failed["words"]
    assert "is not installed" in failed["words"]


def test_another_command_without_a_package(doors):
    """No traceback: the package is named, with the command to type."""
    ended = doors.run("-c", HIDING, "dateutil", "status")

    assert (ended.code, ended.out) == (78, "")
    assert "dateutil is not installed" in ended.err


@pytest.mark.parametrize("trouble", ["none", "broken", "refused", "unreadable"])
def test_planted_secrets(rotating, trouble):
    """Whatever is wrong, no secret of `.env`, environment, addresses or commands is in a line."""
    planted = {
        *("planted-hook-password-1", "planted-notifier-0123456789abcdef", "planted-proxy-pass-2"),
        *("planted-env-secret-3", "planted-env-token-4", "planted-argument-5", "planted-query-6"),
        *("planted-extended-7", "planted-broken-8", "planted-redirect-9"),
    }
    rotating.log_in()
    program = shutil.which("true") or sys.executable
    rotating.set(
        UPSTOX_NOTIFIER_SECRET="planted-notifier-0123456789abcdef",
        UPSTOX_NOTIFY_URLS="json://user:planted-hook-password-1@127.0.0.1/x,ntfy://a:planted-hook-password-1@b",
        UPSTOX_NOTIFY_COMMAND=f"{program} planted-argument-5",
        UPSTOX_ON_RENEW=f"{program} planted-argument-5",
        UPSTOX_EXTENDED_TOKEN="planted-extended-7",
        UPSTOX_REDIRECT_URI="https://u:planted-redirect-9@trader.example/cb.php?key=planted-query-6",
    )
    environ = {
        "UPSTOX_API_SECRET": "planted-env-secret-3",
        "access_token": "planted-env-token-4",
        "HTTPS_PROXY": "http://me:planted-proxy-pass-2@127.0.0.1:9",
    }
    if trouble == "broken":
        with rotating.env_file.open("a", encoding="utf-8") as file:
            file.write('UPSTOX_SECRET_KEY="planted-broken-8\n')
    if trouble == "unreadable":
        rotating.env_file.write_bytes("UPSTOX_SECRET_KEY=planted-broken-8".encode("utf-16"))
    if trouble == "refused":
        echo = " ".join(sorted(rotating.broker.secrets)).encode()
        rotating.broker.answers[LTP] = Response(403, {"X-Echo": "y"}, echo)
    arguments = ("--json",) if trouble == "none" else ()
    ended = rotating.run(*UPSTOX_TOKEN, "doctor", *arguments, environ=environ)

    assert ended.code in (0, 75, 77, 78)
    for secret in planted | rotating.broker.secrets:
        assert secret not in ended.said
