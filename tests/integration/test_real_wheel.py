"""What a plain `pip install .` brings, from a wheel that is really built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.doors import ROOT

BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
READ = """
import sys
from broker_tokens.install import templates
for name in sys.argv[1:]:
    assert templates.read_template(name), name
print(templates.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder with the wheel's content where pip puts it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("broker_tokens", "deploy"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.py"), *(ROOT / each for each in ("README.md", "LICENSE"))]:
        shutil.copy(path, tree)
    shutil.copy(ROOT / "pyproject.toml", tree)
    built = run([sys.executable, "-c", BUILD], cwd=tree)
    wheel = tree / "dist" / built.split()[-1]
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, "--disable-pip-version-check", "--target", str(target), str(wheel)], cwd=tree)
    return target


def run(command, cwd, **environ):
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_install_finds_every_template(installed, tmp_path):
    """Whatever `deploy/` holds for a scheduler is in the wheel, and found where pip put it."""
    kinds = (".service", ".timer", ".plist", ".xml", ".example")
    names = [path.name for path in (ROOT / "deploy").iterdir() if path.suffix in kinds]
    said = run([sys.executable, "-c", READ, *names], cwd=tmp_path, PYTHONPATH=str(installed))

    assert len(names) >= 8
    assert Path(said.strip()).is_relative_to(installed)
    assert not list(installed.glob("deploy"))


def test_the_program_lies_beside_the_modules(installed):
    """What the schedulers start is there, too."""
    assert (installed / "token_refresh_service.py").is_file()
