"""A Debian with a real systemd as its process 1, in a container, with this project on it.

The tree comes from the mirror that this machine's apt is set up for, once; each boot works on a
copy in memory. Needs root, debootstrap and systemd-nspawn.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("debootstrap", "systemd-nspawn", "nsenter", "unshare", "apt-get")

USER = "trader"
HOME = f"/home/{USER}"
FOLDER = f"{HOME}/broker-tokens"
PYTHON = f"{HOME}/.pyenv/python"

# Beyond the smallest system: a session for `systemctl --user`, and what our Python is linked with.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "procps"),
    *("libssl3", "libffi8", "libsqlite3-0", "libbz2-1.0", "liblzma5", "zlib1g", "libexpat1"),
    *("libuuid1", "ca-certificates", "tzdata"),
)

# No step here takes longer, even on a busy machine; a machine that hangs fails.
LIMIT = 60

# A private view of control groups, of the kind that systemd wants, in a group of its own.
_BOOT = """
umount --lazy /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup || exit 1
group=/sys/fs/cgroup/$1
mkdir "$group" && echo $$ > "$group/cgroup.procs" || exit 1
shift
systemd-nspawn "$@" </dev/null
echo $$ > /sys/fs/cgroup/cgroup.procs
find "$group" -depth -type d -exec rmdir {} ';'
"""


class Machine:
    """The booted machine."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def run(self, *command: str, check: bool = True, stdin: str = "") -> str:
        """Run a command there as root and return what it said, both outputs."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}:\n{done.stdout}"
        return done.stdout

    def as_user(self, *command: str, check: bool = True) -> str:
        """Run a command there as the trader, with what a login would give."""
        uid = self.run("id", "-u", USER).strip()
        given = f"XDG_RUNTIME_DIR=/run/user/{uid}"
        return self.run("runuser", "-u", USER, "--", "env", given, *command, check=check)

    def write(self, path: str, text: str, *, mode: str = "0644", owner: str = "root") -> None:
        """Write a file there."""
        self.run("install", "-D", "-m", mode, "-o", owner, "/dev/stdin", path, stdin=text)

    def read(self, path: str) -> str:
        """Return a file of there, empty if it is missing."""
        return self.run("sh", "-c", 'test ! -e "$0" || cat "$0"', path)

    def property(self, unit: str, name: str) -> str:
        """Return what systemd knows of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def wait_for(self, what: str, is_there) -> None:
        """Look until `is_there` returns something true; each look takes a process its time."""
        give_up_at = time.monotonic() + LIMIT
        while not is_there():
            if time.monotonic() >= give_up_at:
                last = self.run("journalctl", "--no-pager", "--lines=40")
                raise AssertionError(f"{what} did not come:\n{last}")

    def journal(self, unit: str = "") -> str:
        """Return the journal, of one unit or of all."""
        return self.run("journalctl", "--no-pager", "--quiet", *(["--unit", unit] if unit else []))


def missing() -> list[str]:
    """Return what this machine lacks for it."""
    lacking = [name for name in NEEDED if shutil.which(name, path=_WIDE_PATH) is None]
    return lacking if os.name == "posix" and os.geteuid() == 0 else ["root", *lacking]


_WIDE_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def debian_tree() -> Path:
    """Return a small Debian of this machine's own release; made once, and kept in the cache."""
    release = _os_release()["VERSION_CODENAME"]
    kind = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "broker-tokens"
    tree = home / f"{release}-{kind}"
    if not tree.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as unfinished:
            _debootstrap(release, Path(unfinished) / "tree")
            (Path(unfinished) / "tree").rename(tree)
    return tree


def _debootstrap(release: str, target: Path) -> None:
    made = subprocess.run(
        [
            *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *(release, str(target), _mirror(release)),
        ],
        env=os.environ | {"PATH": _WIDE_PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout


def _mirror(release: str) -> str:
    """Return where this machine's apt gets the main part of its release from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = [row.split() for row in listed.stdout.splitlines()]
    return next(row[0] for row in rows if row[1:] == [release, "main"])


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)


@contextmanager
def booted() -> Iterator[Machine]:
    """Boot a machine on which the project is installed as the README says; it shares loopback."""
    with tempfile.TemporaryFile("w+") as console:
        process = _boot(console)
        try:
            machine = Machine(_leader(process, console))
            machine.wait_for("the end of the boot", lambda: _is_up(machine))
            _install(machine)
            yield machine
            machine.run("systemctl", "poweroff", "--force", check=False)
            process.wait(LIMIT)
        finally:
            _end(process)


def _boot(console: IO[str]) -> subprocess.Popen:
    name = f"broker-tokens-{os.getpid()}"
    packages = sysconfig.get_paths()["purelib"]
    return subprocess.Popen(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _BOOT, "sh", name),
            *("--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe"),
            *("--volatile=overlay", f"--directory={debian_tree()}", f"--machine={name}"),
            *(f"--bind-ro={ROOT}:/project", f"--bind-ro={packages}:/packages"),
            # The interpreter stands in the trader's home, where pyenv puts it.
            f"--bind-ro={sys.base_prefix}:{PYTHON}",
        ],
        stdout=console,
        stderr=console,
        env=os.environ | {"PATH": _WIDE_PATH},
    )


def _is_up(machine: Machine) -> bool:
    said = machine.run("systemctl", "is-system-running", check=False).strip()
    return said in ("running", "degraded")


def _leader(process: subprocess.Popen, console: IO[str]) -> int:
    """Return the process that is number 1 there: the child of systemd-nspawn."""
    give_up_at = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < give_up_at:
        for nspawn in _children(process.pid):
            for child in _children(nspawn):
                if _name(child) == "systemd":
                    return child
    console.seek(0)
    raise AssertionError(f"systemd-nspawn did not boot the machine:\n{console.read()}")


def _children(pid: int) -> list[int]:
    return [int(child) for child in _proc(pid, f"task/{pid}/children").split()]


def _name(pid: int) -> str:
    return _proc(pid, "comm").strip()


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
    except OSError:
        return ""


def _end(process: subprocess.Popen) -> None:
    """End what did not end by itself: with process 1 of a container goes all of it."""
    for nspawn in _children(process.pid):
        for child in _children(nspawn):
            os.kill(child, signal.SIGKILL)
    process.wait(LIMIT)


def _install(machine: Machine) -> None:
    """Put the project where the units in deploy/ say that it is."""
    machine.run("useradd", "--create-home", "--shell", "/bin/sh", USER)
    machine.run("sh", "-c", f"echo {PYTHON}/lib > /etc/ld.so.conf.d/python.conf && ldconfig")
    machine.run("install", "-d", "-o", USER, "-g", USER, FOLDER, f"{FOLDER}/deploy")
    for part in ("broker_tokens", "token_refresh_service.py", "upstox_token_manager.py"):
        machine.run("cp", "-r", f"/project/{part}", FOLDER)
    machine.run("chown", "-R", f"{USER}:", FOLDER)
    machine.run("chown", f"{USER}:", HOME)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python = f"{PYTHON}/bin/python{version}"
    machine.as_user(python, "-m", "venv", "--without-pip", f"{FOLDER}/.venv")
    site = f"{FOLDER}/.venv/lib/python{version}/site-packages/packages.pth"
    machine.write(site, "/packages\n", owner=USER)
