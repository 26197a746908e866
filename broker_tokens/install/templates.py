"""The templates of `deploy/`, which are whole examples to use by hand as well.

What stands for the user's own in them: the account `trader`, the folder of `.env` and program,
and what lies in it.
"""

import os
import sysconfig
from collections.abc import Iterator
from contextlib import suppress

from broker_tokens.env_path import MODULE_FOLDER
from broker_tokens.errors import ConfigurationError
from broker_tokens.install.job import Job
from broker_tokens.install.machine import Machine

EXAMPLE_USER = "trader"
EXAMPLE_FOLDER = "/home/trader/broker-tokens"
_ON_A_MAC = "/Users/trader/broker-tokens"

_SHARED = os.path.join("share", "broker-tokens", "deploy")


def read_template(name: str) -> str:
    """Return a file of `deploy/`; raises ConfigurationError naming the places looked at."""
    looked = list(dict.fromkeys(_folders()))
    for folder in looked:
        with (
            suppress(FileNotFoundError),
            open(os.path.join(folder, name), encoding="utf-8") as file,
        ):
            return file.read()
    raise ConfigurationError(
        f"The template {name} is missing; looked in {', '.join(looked)}.",
        "Install the package again: pip install .",
    )


def _folders() -> Iterator[str]:
    """Return where `deploy/` may be: beside the modules, or where `pip install .` puts data."""
    yield os.path.join(MODULE_FOLDER, "deploy")
    yield os.path.join(sysconfig.get_path("data"), _SHARED)
    user = sysconfig.get_preferred_scheme("user")
    yield os.path.join(sysconfig.get_path("data", user), _SHARED)
    yield os.path.join(MODULE_FOLDER, _SHARED)  # pip install --target


def own_path(word: str, job: Job, machine: Machine) -> str | None:
    """Return the user's own path for one of the example's, None if `word` is no such path."""
    if word.startswith(_ON_A_MAC):
        word = EXAMPLE_FOLDER + word.removeprefix(_ON_A_MAC)
    if word != EXAMPLE_FOLDER and not word.startswith(EXAMPLE_FOLDER + "/"):
        return None
    inside = word[len(EXAMPLE_FOLDER) + 1 :]
    paths = machine.paths
    if inside == ".env":
        return job.env_path
    if inside == ".venv/bin/python":
        return job.interpreter
    if inside.startswith(".venv/bin/"):
        return str(paths.join(paths.dirname(job.interpreter), inside.removeprefix(".venv/bin/")))
    if inside.endswith(".py"):
        return str(paths.join(paths.dirname(job.program), inside))
    return str(paths.join(job.folder, inside)) if inside else job.folder
