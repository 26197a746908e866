"""The examination as a whole: nothing stops it, nothing is changed by it, the worst code counts."""

import json
import os
import sys
from datetime import timedelta

import pytest

from broker_tokens.attendance import Attendance
from broker_tokens.doctor import examination
from broker_tokens.doctor.finding import fail, ok, worst_exit_code
from broker_tokens.doctor.surroundings import Ended, run_command
from broker_tokens.file_lock import FileLock
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import Endpoint


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        *(([], 0), ([75], 75), ([75, 77], 77), ([77, 75, 78], 78), ([1, 75], 75), ([1], 1)),
    ],
)
def test_the_worst_exit_code(codes, worst):
    """Configuration before a person, a person before the network, our own defects last."""
    findings = [ok("a", "b"), *(fail("a", "b", "c", code) for code in codes)]

    assert worst_exit_code(findings) == worst


def test_a_check_that_breaks_does_not_break_the_others(house, tell, monkeypatch):
    """A defect of ours is a line with its kind, without its text, which may be anything."""
    secret = Secret("planted-in-an-exception")

    def check_broken(case):
        yield ok("broken", "so far")
        raise ValueError(secret.reveal())

    monkeypatch.setattr(examination, "CHECKS", (check_broken, *examination.CHECKS))
    told = tell()

    assert told["broken"] == "fail"
    assert "ValueError" in told.words("broken")
    assert told.code == 1
    assert told["settings"] == "ok"
    assert "planted" not in told.words("broken")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ModuleNotFoundError(name="x")])
def test_a_check_that_the_machine_ends(house, tell, monkeypatch, error):
    """What the machine refuses is told in its words."""

    def check_broken(case):
        yield from ()
        raise error

    monkeypatch.setattr(examination, "CHECKS", (check_broken,))

    assert "not checked" in tell().words("broken")


def test_nothing_is_changed(house, tell):
    """`.env` and state stay to the byte, and what is asked of the broker spends nothing."""
    house.set(UPSTOX_REFRESH_TOKEN="r")
    house.broker.revoke(house.log_in())
    house.service().check_writable()
    folder = house.env_file.parent

    def files():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    before, asked = files(), len(house.broker.requests)
    told = tell()

    assert told["token"] == "fail"
    assert files() == before
    assert {each.endpoint for each in house.broker.requests[asked:]} == {Endpoint.LTP}


def test_wrong_settings_are_all_named(house, tell):
    """And the worst of all causes decides the exit code."""
    house.set(UPSTOX_SESSION="noon", UPSTOX_RENEWAL="prayer", UPSTOX_REFRESH_TIME="2")
    house.broker.faults[Endpoint.LTP] = ["UDAPI100500"]
    told = tell()

    assert (told.code, told["settings"], told["broker"]) == (78, "fail", "fail")
    for key in ("UPSTOX_SESSION", "UPSTOX_RENEWAL", "UPSTOX_REFRESH_TIME"):
        assert key in told.words("settings")


def test_a_wrong_address_of_the_api_is_asked_nothing(house, tell):
    """The default stands in for other wrong settings; for this one, nobody is asked instead."""
    house.log_in()
    asked = len(house.broker.requests)
    house.set(UPSTOX_API_URL="http://api.upstox.com")
    told = tell()

    assert told.code == 78
    assert "not asked" in told.words("broker")
    assert len(house.broker.requests) == asked


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("UPSTOX_CLIENT_ID=a\n".encode("utf-16"), "not a UTF-8 text file"),
        (b"A='oops\n", "line 1 cannot be read"),
        (b"", "Client ID/Secret not found"),
    ],
)
def test_a_file_that_is_none(house, tell, content, words):
    """Another encoding, an open quote, nothing in it: named, and gone on."""
    house.env_file.write_bytes(content)
    told = tell(environ={"UPSTOX_API_URL": house.url})

    assert told.code == 78
    assert words in " ".join(each.words for each in told.findings)
    assert told["broker"] == "ok"


def test_a_machine_that_only_reads(house, tell):
    """Without the app's secret a live token can be used, and that is all: a warning."""
    house.log_in()
    text = house.env_file.read_text(encoding="utf-8").replace("CLIENT_SECRET=sim", "OTHER=sim")
    house.env_file.write_text(text, encoding="utf-8")
    live = tell()
    house.clock.advance(days=1)
    over = tell()

    assert (live["credentials"], live.code) == ("warn", 0)
    assert (over["credentials"], over.code) == ("fail", 78)


def test_credentials_from_files(house, tell, tmp_path):
    """What systemd hands over counts as the service counts it; a broken file is named."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "UPSTOX_CLIENT_SECRET").write_text("planted-credential", encoding="utf-8")
    environ = {"CREDENTIALS_DIRECTORY": str(folder)}
    given = tell(environ=environ)
    (folder / "UPSTOX_CLIENT_SECRET").write_bytes(b"\xff\xfe")
    broken = tell(environ=environ)

    assert given.words("credentials").endswith(".env and credential files")
    assert given["environment"] is None
    assert (broken.code, broken["settings"]) == (78, "fail")
    assert str(folder) in broken.words("settings")


def test_a_service_that_has_credentials_of_its_own(house, tell):
    """It would not run without: that they are missing in this shell is a warning."""
    house.env_file.write_text(f"UPSTOX_API_URL={house.url}\n", encoding="utf-8")
    told = tell(attendance=lambda _: Attendance(7, "", house.clock.now))

    assert (told["credentials"], told.code) == ("warn", 0)
    assert "running service" in told.words("credentials")


def test_refused_credentials(house, tell):
    """What the broker has refused is not tried again, and doctor says why nothing happens."""
    house.set(UPSTOX_REFRESH_TOKEN="r", UPSTOX_CLIENT_SECRET="wrong-secret")
    house.service().tick()
    told = tell()

    assert (told.code, told["credentials"]) == (78, "fail")
    assert "refused" in told.words("credentials")


def test_the_environment_that_outranks(house, tell):
    """A forgotten export is named by its key; what is the same in both is no matter."""
    house.log_in()
    environ = {
        "UPSTOX_CLIENT_SECRET": "planted-other-secret",
        "UPSTOX_CLIENT_ID": "sim-client",
        "access_token": "planted-yesterdays-token",
    }
    told = tell(environ=environ)

    assert told["environment"] == "warn"
    assert "UPSTOX_CLIENT_SECRET of this environment" in told.words("environment")
    assert "UPSTOX_CLIENT_ID" not in told.words("environment")
    assert "access_token" in told.words("environment")
    assert not [each for each in told.findings if "planted" in each.words + each.remedy]


def test_another_name_of_a_credential_outranks_too(house, tell):
    """UPSTOX_API_KEY of the environment is taken before UPSTOX_CLIENT_ID of the file."""
    told = tell(environ={"UPSTOX_API_KEY": "of-another-app"})

    assert "UPSTOX_API_KEY" in told.words("environment")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user(house, tell, monkeypatch):
    """Whoever is not root and does not own it is told to be the one who does."""
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    told = tell()

    assert "another user" in told.words(".env")
    assert told["writable"] is None
    assert not list(house.env_file.parent.glob(".env.*")), "it makes nothing that would be its own"


@pytest.mark.parametrize(
    ("codes", "level"),
    [
        ({}, "warn"),
        ({"ls-files": 128, "check-ignore": 0}, "warn"),
        ({"ls-files": 1, "check-ignore": 0}, "warn"),
        ({"ls-files": 1, "check-ignore": 0, "log": 128}, "warn"),
        ({"ls-files": 1, "check-ignore": 0, "log": 0}, "ok"),
        ({"ls-files": 0, "check-ignore": 1, "log": 0}, "fail"),
    ],
)
def test_git_that_cannot_answer(house, tell, codes, level):
    """Not installed, or the repository is another user's: that is not taken for an answer."""
    (house.env_file.parent / ".git").mkdir()
    asked = []

    def run(command):
        asked.append(command)
        return Ended(codes.get(command[3]))

    assert tell(run=run)["git"] == level
    assert {tuple(command[:2]) for command in asked} == {("git", "-C")}


def test_a_command_that_is_missing_and_one_that_looks_around(monkeypatch):
    """The one stops no report; the other, run by a repository's own settings, finds no secret."""
    monkeypatch.setenv("UPSTOX_CLIENT_SECRET", "planted-secret")
    ended = run_command([sys.executable, "-c", "import os; print(dict(os.environ))"])

    assert run_command(["/no/such/program"]) == Ended(None)
    assert ended.code == 0
    assert "HOME" in ended.out
    assert "planted" not in ended.out


def test_a_secret_in_a_message_is_taken_out(house, tell):
    """Whatever a message says, each secret of `.env` and environment is taken out of it."""
    house.set(UPSTOX_REFRESH_TOKEN="planted-refresh", UPSTOX_NOTIFY_URLS="x://planted-hook,y://b")
    failure = {
        "at": "2026-11-20T05:00:00+05:30",
        "what": "planted-refresh planted-env x://planted-hook",
    }
    house.service().tick()
    state = house.env_file.parent / ".env.state.json"
    saved = json.loads(state.read_text(encoding="utf-8")) | {"last_failure": failure}
    state.write_text(json.dumps(saved), encoding="utf-8")
    told = tell(environ={"UPSTOX_API_SECRET": "planted-env"})

    assert told.words("last failure").count("<secret>") == 3
    assert "planted" not in told.words("last failure")


def test_a_renewal_under_way(house, tell):
    """Somebody else holds the lock: whether a token could be stored is then not known."""
    with FileLock(f"{house.env_file}.lock"):
        told = tell(lock_timeout=timedelta(0))

    assert (told["writable"], told.code) == ("fail", 75)
