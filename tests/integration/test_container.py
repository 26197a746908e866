"""Dockerfile and compose.yaml: linted, and what they would run is run in a box like a container."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.container import Dockerfile, build, let_in
from support.doors import ROOT, Running, open_doors

from broker_tokens.errors import EXIT_CONFIGURATION
from broker_tokens.simulator.broker import RefreshGrant

LINT = Path(__file__).parent / "compose_lint" / "node_modules" / ".bin" / "dclint"
SERVICE = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]["token"]
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image, as far as it can be built without an engine."""
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def doors(tmp_path):
    """The simulated broker, and a folder for /data whose `.env` leads to it."""
    with open_doors(tmp_path, RefreshGrant.ON) as opened:
        yield opened


def test_the_dockerfile_is_linted():
    """hadolint has nothing to say."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_compose_file_is_linted():
    """It keeps to the schema of the Compose Specification, and to the linter's own rules."""
    if not LINT.exists():
        assert not os.environ.get("CI"), "CI installs dclint"
        pytest.skip("dclint is not installed")
    done = subprocess.run([LINT, ROOT / "compose.yaml"], capture_output=True, check=False)

    assert done.returncode == 0, done.stdout
    assert done.stdout.strip() == b""


def test_nothing_secret_gets_into_the_build():
    """Of a trader's folder only what the package is made of is let in."""
    for path in (
        *(".env", ".env.state.json", ".env.broker-tokens-new", ".git/config", "secrets/.env"),
        *("upstox_token_refresh.log", "broker_tokens/.env", "tests/conftest.py", "compose.yaml"),
    ):
        assert not let_in(IGNORE, path), path
    for path in ("pyproject.toml", "broker_tokens/cli/main.py", "init_tokens.py"):
        assert let_in(IGNORE, path), path


def test_no_secret_is_asked_for_by_the_image():
    """No build argument and no variable holds one: whoever has the image has nothing."""
    whole = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert not re.search(r"(?m)^ARG ", whole)
    assert not {"environment", "env_file", "secrets", "build.args"} & set(SERVICE)
    assert not re.search("secret|token=|key", whole.partition("\nENV ")[2].lower())


def test_the_container_has_no_power():
    """Not root, no capability, nothing writable but the mounted folder and memory."""
    assert Dockerfile.read(ROOT / "Dockerfile").all("USER") == ["1000:1000"]
    assert SERVICE["user"] == "${PUID:-1000}:${PGID:-1000}"
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["read_only"] is True
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    (mount,) = SERVICE["volumes"]
    assert (mount["source"], mount["target"]) == ("./secrets", "/data")


def test_a_stop_leaves_time_for_a_token_request():
    """Docker kills later than a token request's deadline (20 s) and its write take."""
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > 22


@pytest.fixture
def running(image, doors):
    """The container, with a token that it has just renewed by itself."""
    doors.log_in()
    # No session is near, so that the hour of the test counts nothing.
    doors.set(access_token="", UPSTOX_SESSION="03:31-03:32")
    command = image.box(doors.folder, *image.dockerfile.command)
    running = Running(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    try:
        running.wait_for("renewed silently")
        yield running
    finally:
        running.process.kill()
        running.wait()


def test_the_service_renews_in_the_container_and_ends_on_sigterm(running, doors):
    """As process 1 without power, in a root that is read-only, it renews, and heeds SIGTERM."""
    os.kill(_only_child(running.process.pid), signal.SIGTERM)
    ended = running.wait()

    assert ended.code == 0, ended.err
    assert doors.values["access_token"]


def test_the_health_check_tells_well_from_ill(image, running, doors, tmp_path_factory):
    """Docker sees 0 where all is well, and 1 where nobody looks after a token."""
    well = image.run(doors.folder, *image.dockerfile.health_command)
    ill = image.run(tmp_path_factory.mktemp("empty"), *image.dockerfile.health_command)

    assert (well.returncode, ill.returncode) == (0, 1), well.stderr


def test_without_an_env_it_says_where_it_belongs(image, tmp_path):
    """A wrong set-up ends at once with 78, so that restarts of Docker cost next to nothing."""
    ended = image.run(tmp_path, *image.dockerfile.command)

    assert ended.returncode == EXIT_CONFIGURATION
    assert "/data/.env" in ended.stderr


def _only_child(pid):
    """Return the process id of bwrap's one child, the program."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)
