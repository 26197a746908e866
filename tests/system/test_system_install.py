"""`upstox-token install systemd` under a real systemd, from a plain and a nasty folder."""

import sys

import pytest
from support.booted import FOLDER, HOME, PYTHON, USER

NAME = "upstox-token-refresh"
MODULES = ("token_refresh_service.py", "upstox_token_manager.py")
NASTY = f'{HOME}/100%\'s "best" $HOME `id` \\%\\ #1; मेरा\\'
PLACES = ["/etc/systemd", f"{HOME}/.config", f"{HOME}/.local", "/var/lib/systemd/timers"]


class Trader:
    """A trader whose project and `.env` are in a folder of the test's choice."""

    def __init__(self, machine, broker, folder, scope):
        self.machine, self.broker, self.folder, self.scope = machine, broker, folder, scope
        self.run = machine.run if scope else machine.as_user
        self.control = ["systemctl"] if scope else ["systemctl", "--user"]

    def set_up(self):
        """Put the project and a `.env` that is due for renewal into the folder."""
        run, owner = self.machine.run, f"{USER}:"
        run("install", "-d", "-o", USER, "-g", USER, self.folder)
        for part in ("broker_tokens", "deploy", *MODULES):
            run("cp", "-r", f"/project/{part}", self.folder)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        venv = f"{self.folder}/.venv"
        python = f"{PYTHON}/bin/python{version}"
        run(python, "-m", "venv", "--without-pip", "--clear", venv)
        site = f"{venv}/lib/python{version}/site-packages/packages.pth"
        self.machine.write(site, "/packages\n")
        text = self.broker.env_file.read_text(encoding="utf-8")
        self.machine.write(f"{self.folder}/.env", text, mode="0600")
        run("chown", "-R", owner, self.folder)

    def install(self, *options, kind="systemd", check=True):
        """Run the command as the user, or as root with --system."""
        command = [f"{self.folder}/.venv/bin/python", "-m", "broker_tokens", "install", kind]
        at = ["env", "-C", self.folder]
        command += [*self.scope, *options, "--env-file", f"{self.folder}/.env"]
        return self.run(*at, *command, check=check)

    def state(self, unit):
        """Return whether a unit is active, and whether it is enabled."""
        return [
            self.run(*self.control, word, unit, check=False).strip()
            for word in ("is-active", "is-enabled")
        ]

    def files(self):
        """Return every file where units and what belongs to them lie."""
        find = 'find "$@" ! -type d 2>/dev/null || true'
        return self.machine.run("sh", "-c", find, "sh", *PLACES)

    def has_live_token(self):
        """Whether the broker takes the token in the `.env`."""
        lines = self.machine.read(f"{self.folder}/.env").splitlines()
        token = dict(line.split("=", 1) for line in lines if "=" in line).get("access_token", "")
        return bool(token) and self.broker.broker.is_live(token)


SYSTEM = ["--system"]
SERVICE, TIMER = ("systemd", f"{NAME}.service"), ("systemd-timer", "upstox-token-once.timer")


@pytest.fixture
def trader(request, machine, broker):
    """A trader with a refresh token and no live token, in a folder, for himself or for all."""
    folder, scope = request.param
    broker.log_in()
    broker.set(access_token="")
    made = Trader(machine, broker, folder, scope)
    made.set_up()
    if not scope:
        machine.run("loginctl", "enable-linger", USER)
        machine.wait_for(
            "the user's manager",
            lambda: (
                "running" in made.run(*made.control, "is-system-running", check=False)
                or "degraded" in made.run(*made.control, "is-system-running", check=False)
            ),
        )
    yield made
    for kind in ("systemd", "systemd-timer"):
        made.install("--uninstall", kind=kind, check=False)
    machine.run("loginctl", "disable-linger", USER)
    machine.run("sh", "-c", 'rm -rf "$0"/.env*', made.folder)


@pytest.mark.parametrize(
    ("trader", "what"),
    [
        ((NASTY, []), SERVICE),
        ((NASTY, SYSTEM), SERVICE),
        ((FOLDER, []), TIMER),
        ((NASTY, SYSTEM), TIMER),
    ],
    indirect=["trader"],
)
def test_installed_renewed_and_taken_away(trader, what):
    """One command: it runs and renews; again: it still does; a last one: there is nothing left."""
    kind, unit = what
    before = trader.files()
    trader.install("--apply", kind=kind)
    assert trader.state(unit) == ["active", "enabled"]
    trader.machine.wait_for("a renewal", trader.has_live_token)

    trader.install("--apply", kind=kind)
    assert trader.state(unit) == ["active", "enabled"]

    trader.install("--uninstall", kind=kind)
    assert trader.state(unit)[0] == "inactive"
    assert trader.files() == before


@pytest.mark.parametrize("trader", [(FOLDER, SYSTEM)], indirect=True)
def test_a_service_that_cannot_start_is_not_left_there(trader):
    """Without credentials the first start fails: it is said why, and undone."""
    before = trader.files()
    trader.machine.write(f"{trader.folder}/.env", "access_token=\n", mode="0600", owner=USER)
    with pytest.raises(AssertionError, match="journalctl"):
        trader.install("--apply")

    assert trader.state(f"{NAME}.service")[0] == "inactive"
    assert trader.files() == before
