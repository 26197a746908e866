"""The image of the Dockerfile as far as it goes without an engine: what runs, and in what a box.

The steps of the build are taken as they stand there, the base image is this machine's Python, and
`bwrap` (Debian: bubblewrap) is the container: a root of its own that is read-only but for /data and
/tmp, no capability, process ids of its own with the program as number 1.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.doors import LIMIT, ROOT

HOME = "/opt/broker-tokens"
PACKAGES = sysconfig.get_path("purelib")


def let_in(ignore: str, path: str) -> bool:
    """Whether a .dockerignore lets this file into the build; the last line that fits decides."""
    is_in = True
    names = path.split("/")
    for line in ignore.splitlines():
        pattern = line.strip().lstrip("!")
        if not pattern or pattern.startswith("#"):
            continue
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatch(name, pattern[3:]) for name in names)
        else:
            fits = fnmatch.fnmatch(names[0], pattern)
        if fits:
            is_in = line.startswith("!")
    return is_in


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of the last stage."""

    instructions: list[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Dockerfile":
        """Parse a Dockerfile; comments and continued lines are understood, no more is needed."""
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
        text = re.sub(r"\\\n", " ", "\n".join(lines))
        found = [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]
        last = max(place for place, (name, _) in enumerate(found) if name == "FROM")
        return cls([(name, words.strip()) for name, words in found[last:]])

    def all(self, name: str) -> list[str]:
        """Return the arguments of each instruction of this name."""
        return [words for each, words in self.instructions if each == name]

    @property
    def environ(self) -> dict[str, str]:
        """The variables it sets."""
        pairs = (pair.split("=", 1) for words in self.all("ENV") for pair in words.split())
        return {key: value.replace("$PATH", os.defpath) for key, value in pairs}

    @property
    def command(self) -> list[str]:
        """What it runs."""
        return json.loads(self.all("CMD")[-1])

    @property
    def health_command(self) -> list[str]:
        """What asks whether it is well."""
        return json.loads(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])


@dataclass(frozen=True)
class Image:
    """What a build has made of a checkout: the folder that becomes /opt/broker-tokens."""

    dockerfile: Dockerfile
    home: Path

    def box(self, data: Path, *command: str) -> list[str]:
        """Return the command that runs `command` in a container with `data` mounted at /data."""
        variables = [
            word
            for key, value in self.dockerfile.environ.items()
            for word in ("--setenv", key, value)
        ]
        return [
            *_box("--bind", str(data), "/data", "--ro-bind", str(self.home), HOME),
            *("--remount-ro", "/", "--clearenv", *variables),
            # The packages that pip has not been let load again; a name on this path is no install.
            *("--setenv", "PYTHONPATH", "/packages"),
            *("--chdir", self.dockerfile.all("WORKDIR")[-1], "--", *command),
        ]

    def run(self, data: Path, *command: str) -> subprocess.CompletedProcess:
        """Run a command to its end."""
        return subprocess.run(
            self.box(data, *command), capture_output=True, text=True, timeout=LIMIT, check=False
        )


def build(folder: Path) -> Image:
    """Do what the Dockerfile does, in `folder`; skips, but not in CI, without `bwrap`."""
    if shutil.which("bwrap") is None:
        assert not os.environ.get("CI"), "CI installs bubblewrap"
        pytest.skip("bwrap is not installed")
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    context, home = folder / "source", folder / "home"
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for path in filter(lambda path: let_in(ignore, path), listed.splitlines()):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, context / path)
    home.mkdir()
    _install(context, home)
    return Image(Dockerfile.read(ROOT / "Dockerfile"), home)


def _install(context: Path, home: Path) -> None:
    """Install as the Dockerfile says, but for the packages that are there already."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", context, context]
    subprocess.run(wheels, check=True, timeout=LIMIT)
    (wheel,) = context.glob("*.whl")
    box = _box("--bind", str(home), HOME, "--ro-bind", str(context), "/source")
    box += ["--ro-bind", f"{PACKAGES}/pip", "/tools/pip", "--setenv", "PYTHONPATH", "/tools"]
    python = f"{sys.base_prefix}/bin/python3"
    install = ["install", "--no-deps", "--no-index", "--no-cache-dir", f"/source/{wheel.name}"]
    steps = (
        [python, "-m", "venv", "--without-pip", HOME],
        [python, "-m", "pip", "--quiet", "--python", f"{HOME}/bin/python", *install],
    )
    for step in steps:
        subprocess.run([*box, "--", *step], check=True, timeout=LIMIT)


def _box(*mounts: str) -> list[str]:
    """Return the beginning of a command in a root of its own, in which nothing of ours is."""
    system = [path for path in ("/usr", "/etc", "/lib", "/lib64", "/bin") if os.path.exists(path)]
    read_only = [*system, sys.base_prefix]
    return [
        *("bwrap", "--die-with-parent", "--unshare-user", "--uid", "1000", "--gid", "1000"),
        *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--cap-drop", "ALL", "--new-session"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *(word for path in read_only for word in ("--ro-bind", path, path)),
        *("--ro-bind", PACKAGES, "/packages", *mounts),
    ]
