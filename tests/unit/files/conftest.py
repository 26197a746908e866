"""Other processes, other users and other mounts for the tests of the files."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import broker_tokens

_ROOT = str(Path(broker_tokens.__file__).parents[1])
_NOBODY = 65534

# Everything is imported before the rights are dropped: the interpreter may live in a private home.
_PRELUDE = f"""
import json, os, signal, sys
sys.path.insert(0, {_ROOT!r})
import dotenv.parser, dateutil.parser
from broker_tokens.durable_file import *
from broker_tokens.errors import TokenError
from broker_tokens.file_lock import FileLock
from broker_tokens.model import State
from broker_tokens.store import TokenStore
if os.environ.get("TEST_AS_NOBODY"):
    os.setgroups([]); os.setgid({_NOBODY}); os.setuid({_NOBODY})
def write(path, content, new="new"):
    with Replacement(path) as replacement:
        replacement.prepare(len(content))
        replacement.commit(content)
def save(path, **keys):
    with TokenStore(path).writing() as writer:
        writer.prove_writable()
        writer.save_tokens(keys, State())
"""

_EPILOGUE = """
except TokenError as error:
    print(json.dumps({"exit_code": error.exit_code, "message": str(error)}))
else:
    print(json.dumps({"exit_code": 0, "message": ""}))
"""


@dataclass(frozen=True)
class Ending:
    """How a script ended: the exit code its error stands for, and the error's text."""

    exit_code: int
    message: str


def start(body: str, *args, as_nobody=False, wrapper=(), **options) -> subprocess.Popen:
    """Start a script that has the modules under test at hand; `sys.argv[1:]` are `args`."""
    environ = {**os.environ, "TEST_AS_NOBODY": "1" if as_nobody else ""}
    # What is killed or has no disk left cannot write its coverage either.
    environ.pop("COVERAGE_PROCESS_CONFIG", None)
    command = [*wrapper, sys.executable, "-c", _PRELUDE + body, *map(str, args)]
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen(command, env=environ, text=True, **options)


def run(body: str, *args, **options) -> Ending:
    """Run a script to its end and return how it ended."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    process = start(f"try:\n{lines}{_EPILOGUE}", *args, **options)
    answer, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return Ending(**json.loads(answer.splitlines()[-1]))


@pytest.fixture
def scripts():
    """Give `start` and `run` to tests, which are no package."""

    class Scripts:
        pass

    Scripts.start, Scripts.run = staticmethod(start), staticmethod(run)
    return Scripts


@pytest.fixture
def run_as_nobody():
    """Run a script without root's rights; an ordinary developer has none to lose."""

    def run_it(body, *args, **options):
        return run(body, *args, as_nobody=os.geteuid() == 0, **options)

    return run_it


@pytest.fixture
def open_folder():
    """A folder that every account can enter, unlike pytest's own; owned by nobody under root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def give_to_nobody():
    """Make nobody the owner of a path (under root; else it is the developer's anyway)."""

    def give(path):
        if os.geteuid() == 0:
            os.chown(path, _NOBODY, _NOBODY)

    return give


@pytest.fixture(scope="session")
def mount_wrapper():
    """A command prefix: `sh -c MOUNTS -- COMMAND` in a mount namespace of its own, or a skip."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    with tempfile.TemporaryDirectory() as folder:
        probe = [*unshare, "mount", "-t", "tmpfs", "none", folder]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount in a namespace of its own")
    return lambda mounts: [*unshare, "sh", "-ec", f'{mounts}; exec "$@"', "sh"]


@pytest.fixture
def needs_root():
    """Skip a test that gives files away."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to other accounts")
