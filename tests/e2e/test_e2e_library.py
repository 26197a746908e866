"""What strategies do: the calls of the guide that users follow, as they type them."""

import hashlib
import json
from contextlib import ExitStack

import pytest
from support.doors import ONCE, SERVICE, TOKEN, consent

ONE_LINER = (
    "from upstox_token_manager import UpstoxTokenManager;"
    " UpstoxTokenManager().refresh_access_token()"
)

GUIDE = """
from dotenv import load_dotenv
load_dotenv()
from upstox_token_manager import UpstoxTokenManager
manager = UpstoxTokenManager()
print(manager.get_authorization_url(), flush=True)
token = manager.get_access_token_from_code(input())
print(token == manager.get_current_token() == manager.access_token)
print(manager.client_id, manager.redirect_uri, manager.token_expiry.isoformat())
print(repr(manager), bool(manager.refresh_token))
"""

STRATEGY = """
import hashlib, sys
from upstox_token_manager import get_current_token
print("ready", flush=True)
for line in sys.stdin:
    t = get_current_token()
    print(hashlib.sha256(t.encode()).hexdigest()[:8], flush=True)
"""

IMPORT = """
import os, sys
before = dict(os.environ)
import upstox_token_manager
if "call" in sys.argv:
    upstox_token_manager.get_current_token()
names = ["requests", "schedule", "dateutil", "dotenv", "urllib3", "http.client", "logging"]
names += ["json", "re", "dataclasses", "hashlib", "pathlib", "typing", "enum", "base64"]
log = sys.modules.get("logging")
seen = {
    "environment": dict(os.environ) == before,
    "loaded": [name for name in names if name in sys.modules],
    "handlers": len(log.root.handlers) if log else 0,
}
import json
print(json.dumps(seen))
"""

SCHEDULER = """
from upstox_token_manager import UpstoxTokenManager
thread = UpstoxTokenManager().start_auto_refresh_scheduler("02:00")
print(thread and thread.daemon, flush=True)
input()
"""


def fingerprint(token):
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def test_the_one_liner(rotating):
    """`python -c` in the `.env`'s folder renews, silently in every sense."""
    rotating.log_in()
    before = rotating.values
    ended = rotating.run("-c", ONE_LINER)

    assert (ended.code, ended.said) == (0, "")
    assert rotating.values["access_token"] != before["access_token"]
    assert rotating.values["UPSTOX_REFRESH_TOKEN"] != before["UPSTOX_REFRESH_TOKEN"]


def test_the_one_liner_without_a_refresh_token(doors):
    """Without a refresh token the exception is the text that people look up."""
    ended = doors.run("-c", ONE_LINER, may_raise=True)

    assert ended.code == 1
    assert "Refresh token not found" in ended.err.splitlines()[-1]


def test_the_guide(rotating):
    """Address, code, token: the first login through the library."""
    with rotating.start("-c", GUIDE) as running:
        address = running.wait_for("/v2/login/authorization/dialog?")
        running.type(consent(address))
        ended = running.wait()
    lines = ended.out.splitlines()

    assert ended.code == 0
    assert address.startswith(
        f"{rotating.url}/v2/login/authorization/dialog?response_type=code&client_id=sim-client&"
    )
    assert lines[1] == "True"
    assert lines[2].startswith(f"sim-client {rotating.redirect_uri} ")


def test_a_long_running_strategy_sees_the_new_token(rotating):
    """A process that runs on gets the token that another one renewed, without a restart."""
    first = rotating.log_in()
    with rotating.start("-c", STRATEGY) as running:
        running.wait_for("ready")
        running.type("")
        running.wait_for(fingerprint(first))
        assert rotating.run(*ONCE, "--force").code == 0
        second = rotating.values["access_token"]
        running.type("")
        running.wait_for(fingerprint(second))

    assert first != second


def test_a_token_of_the_environment_is_not_used(rotating):
    """A long-running process holds yesterday's environment: the file counts."""
    token = rotating.log_in()
    with rotating.start("-c", STRATEGY, environ={"access_token": "yesterday"}) as running:
        running.type("")
        running.wait_for(fingerprint(token))


def test_twenty_strategies_at_the_expiry(rotating):
    """Twenty processes that meet a dead token at once make one token request and share it."""
    rotating.log_in()
    rotating.set(access_token="")
    with ExitStack() as stack:
        crowd = [stack.enter_context(rotating.start("-c", STRATEGY)) for _ in range(20)]
        for running in crowd:
            running.wait_for("ready")
        for running in crowd:
            running.type("")
        outputs = [running.wait() for running in crowd]
    token = rotating.values["access_token"]

    assert {ended.code for ended in outputs} == {0}
    assert {ended.out for ended in outputs} == {f"ready\n{fingerprint(token)}\n"}
    assert rotating.broker.is_live(token)
    assert rotating.broker.count(TOKEN) == 2, "the login's and one renewal's"


@pytest.mark.parametrize("what", ["import", "call"])
def test_importing_and_the_first_call_cost_nothing(doors, what):
    """No environment is changed, no logging set up, none of the libraries loaded.

    Nor are those of Python's own that take milliseconds: an ordinary file needs none of them. They
    are counted in an interpreter of its own that no coverage measurement has prepared.
    """
    doors.log_in()
    plain = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
    seen = json.loads(doors.run("-S", "-c", IMPORT, what, environ=plain).out)

    assert seen["environment"]
    assert (seen["loaded"], seen["handlers"]) == ([], 0)


def test_the_env_file_is_found(doors):
    """The nearest `.env` upwards counts, unless UPSTOX_ENV_FILE names one."""
    token = doors.log_in()
    deep = doors.folder / "strategies" / "deep"
    deep.mkdir(parents=True)
    other = deep.parent.parent / "empty"
    other.mkdir()
    (other / ".env").write_text("access_token=\n", encoding="utf-8")
    upwards = doors.run("-c", STRATEGY, folder=deep, stdin="\n")
    named = doors.run(
        "-c", STRATEGY, folder=other, stdin="\n", environ={"UPSTOX_ENV_FILE": str(doors.env_file)}
    )

    assert upwards.out == named.out == f"ready\n{fingerprint(token)}\n"


def test_no_env_file_names_every_place(doors, tmp_path_factory):
    """Without a `.env` the exception names the places looked at."""
    folder = tmp_path_factory.mktemp("nowhere")
    ended = doors.run(
        "-c", STRATEGY, stdin="\n", may_raise=True, environ={"UPSTOX_ENV_FILE": str(folder / "x")}
    )

    assert ended.code == 1
    assert str(folder / "x") in ended.err.splitlines()[-1]


def test_the_scheduler_in_a_program_of_ones_own(rotating):
    """`start_auto_refresh_scheduler` renews in a daemon thread and ends with the program."""
    rotating.log_in()
    rotating.set(access_token="")
    with rotating.start("-c", SCHEDULER) as running:
        running.wait_for("True")
        rotating.broker.await_request(TOKEN, 2)
        second = rotating.run(*SERVICE)
        running.type("")
        ended = running.wait()

    assert second.code == 75
    assert str(running.process.pid) in second.err
    assert (ended.code, ended.err) == (0, "")


def test_the_scheduler_beside_the_daemon(doors):
    """Where a daemon keeps the `.env` already, no second loop is started."""
    with doors.start(*SERVICE) as daemon:
        daemon.wait_for("Service started")
        ended = doors.run("-c", SCHEDULER, stdin="\n")
        daemon.stop()

    assert (ended.code, ended.out) == (0, "None\n")
