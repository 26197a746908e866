"""The command `install`, on a machine that is played."""

import argparse
from dataclasses import dataclass

import pytest
from support.machines import Played

from broker_tokens.cli import install, installing
from broker_tokens.cli.output import guarded


@dataclass(frozen=True)
class Answer:
    """What the command said, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def played(tmp_path):
    """A Linux machine of the user `trader`."""
    made = Played(tmp_path)
    made.home.mkdir()
    (made.root / "run/systemd/system").mkdir(parents=True)  # systemd is process 1
    return made


@pytest.fixture
def install_on(capsys):
    """Run `upstox-token install` on a machine that is played."""

    def run(played, *arguments, env_file=None):
        parser = argparse.ArgumentParser()
        install.add_arguments(parser)
        options = parser.parse_args([*arguments])
        options.env_file = str(env_file or played.env_file())
        code = guarded(lambda: installing.run(options, played.machine))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Answer(code, said.out, said.err)

    return run
