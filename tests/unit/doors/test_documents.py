"""What the documents and templates say is what the programs do."""

import re
import subprocess
from pathlib import Path

import pytest

from broker_tokens.cli import init, main, service
from broker_tokens.env_text import EnvText
from broker_tokens.settings import load_settings
from broker_tokens.store import ACCESS_TOKEN, EXPIRES_AT, EXTENDED_TOKEN, REFRESH_TOKEN, USER_ID

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SETTINGS = "".join(
    (ROOT / "broker_tokens" / f"{name}.py").read_text(encoding="utf-8")
    for name in ("credentials", "settings", "setting_values")
)

KEYS = set(re.findall(r'"(UPSTOX_[A-Z_]+)"', SETTINGS)) - {"UPSTOX_ENV_FILE"}
WRITTEN = {ACCESS_TOKEN, EXPIRES_AT, EXTENDED_TOKEN, REFRESH_TOKEN, USER_ID}


def test_every_setting_is_in_the_readme_and_in_the_example():
    """Nobody has to read the code to find a key, or meets one that does nothing."""
    aliases = {"UPSTOX_API_KEY", "UPSTOX_API_SECRET", "UPSTOX_SECRET_KEY"}

    assert set(re.findall(r"`(\w+)`", README)) >= KEYS | WRITTEN
    assert (KEYS | WRITTEN) - aliases == set(re.findall(r"(?m)^#?(\w+)=", EXAMPLE))


def test_the_examples_comments_state_the_defaults():
    """Taking every # away before a key changes nothing."""
    plain = EnvText(EXAMPLE.encode()).values
    opened = EnvText(re.sub(r"(?m)^#(\w+=)", r"\1", EXAMPLE).encode()).values

    assert load_settings(opened, {}) == load_settings(plain, {})


def test_the_example_is_filled_in_by_setting_its_first_two_keys():
    """With client ID and secret, the example is a whole configuration."""
    filled = EnvText(EXAMPLE.encode()).values | {
        "UPSTOX_CLIENT_ID": "id",
        "UPSTOX_CLIENT_SECRET": "secret",
    }

    assert load_settings(filled, {}, need_credentials=True).client_id == "id"


@pytest.mark.parametrize(
    ("program", "parser"),
    [
        ("init_tokens.py", init.parser()),
        ("token_refresh_service.py", service.parser()),
    ],
)
def test_the_readme_shows_the_options_that_help_shows(program, parser):
    """The README's line of a program and its --help name the same options."""
    line = next(row for row in README.splitlines() if row.startswith(f"python {program} ["))
    shown = set(re.findall(r"\[(-{1,2}[a-z-]+)", line))

    assert shown | {"-h"} == set(re.findall(r"\[(-{1,2}[a-z-]+)", parser.format_usage()))


def test_the_readme_shows_the_commands_that_help_shows():
    """Every command of `upstox-token` has its line in the README, and no other has."""
    shown = set(re.findall(r"(?m)^upstox-token ([a-z]+)", README.split("## Commands")[1]))

    listed = main.parser().format_help().split("COMMAND\n")[-1]
    assert shown == set(re.findall(r"(?m)^    ([a-z]+)\b", listed))


def test_the_runtime_packages_are_the_same_everywhere():
    """requirements.txt and pyproject.toml name the same four packages."""
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.findall(r'"(.+?)"', project.split("dependencies = [")[1].split("]")[0])

    assert required == declared
    assert len(required) == 4


def test_secrets_are_ignored_by_git(tmp_path):
    """The example is the only file of the .env family that git would take."""
    names = [
        ".env",
        ".env.lock",
        ".env.state.json",
        ".env.audit.jsonl",
        ".env.new",
        ".env.backup",
        "x.log",
    ]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *names, ".env.example"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()

    assert ignored == names
