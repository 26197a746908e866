"""The units in deploy/ under a real systemd: what is promised of supervision, seen to happen."""

import re
import signal

import pytest
from support.booted import FOLDER, HOME, PYTHON, ROOT, USER
from support.doors import TOKEN
from support.scripted_upstox import CLIENT_SECRET, Hang

ENV_FILE = f"{FOLDER}/.env"
UNITS = "/etc/systemd/system"
SERVICE = "upstox-token-refresh.service"
ALERT = f"upstox-token-alert@{SERVICE}.service"
ONCE = "upstox-token-once.service"
TIMER = "upstox-token-once.timer"

# Promises are kept here in tenths of a second that the templates keep in half minutes.
SOON = "[Service]\nRestartSec=100ms\n"


class Installed:
    """The trader's machine with the units as they are in deploy/, and drop-ins on top."""

    def __init__(self, machine, broker):
        self.machine = machine
        self.broker = broker

    def set_up(self, **keys):
        """Write the `.env` as the broker's side has it, with a channel, and `keys`."""
        self.broker.set(UPSTOX_NOTIFY_COMMAND=f"{FOLDER}/tell", **keys)
        text = self.broker.env_file.read_text(encoding="utf-8")
        self.machine.write(ENV_FILE, text, mode="0600", owner=USER)
        told = f'#!/bin/sh\nread title; read empty; cat >> "{FOLDER}/told"\n'
        self.machine.write(f"{FOLDER}/tell", told, mode="0755", owner=USER)

    def install(self, *units):
        """Copy units of deploy/ to where root's units are."""
        for unit in units:
            self.machine.run("cp", f"/project/deploy/{unit}", UNITS)
        self.machine.run("systemctl", "daemon-reload")

    def drop_in(self, text, unit=SERVICE):
        """Change a unit as `systemctl edit` does."""
        self.machine.write(f"{UNITS}/{unit}.d/test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def start(self, *options, unit=SERVICE, check=True):
        """Start a unit and wait until it is up."""
        self.machine.run("systemctl", "start", *options, unit, check=check)

    def hang(self):
        """Start the service and wait until its renewal waits for the broker; return the answer."""
        broker = self.broker.broker
        answer = broker.answers[TOKEN] = Hang()
        number = broker.count(TOKEN) + 1
        self.start("--no-block")
        broker.await_request(TOKEN, number)
        return answer

    def of(self, name, unit=SERVICE):
        """Return a property of a unit."""
        return self.machine.property(unit, name)

    @property
    def values(self):
        """The `.env` as it is now."""
        lines = self.machine.read(ENV_FILE).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    @property
    def told(self):
        """What the trader was told."""
        return self.machine.read(f"{FOLDER}/told")

    def has_live_token(self):
        """Whether the broker takes the token in the `.env`."""
        token = self.values.get("access_token", "")
        return bool(token) and self.broker.broker.is_live(token)

    def wait_for(self, name, value, unit=SERVICE):
        """Wait until a property of a unit is `value`."""
        self.machine.wait_for(f"{name}={value}", lambda: self.of(name, unit) == value)

    def wait_for_restart(self, process):
        """Wait until the service is up again with another process than `process`."""

        def is_up_again():
            state, pid = self.of("ActiveState"), self.of("MainPID")
            return state == "active" and pid not in ("0", process)

        self.machine.wait_for("a restart", is_up_again)


@pytest.fixture
def there(machine, broker):
    """The service installed, with a refresh token and no live token: a renewal is due."""
    broker.log_in()
    installed = Installed(machine, broker)
    installed.set_up(access_token="")
    installed.install(SERVICE, "upstox-token-alert@.service")
    yield installed
    for unit in (TIMER, ONCE, SERVICE, ALERT):
        machine.run("systemctl", "stop", unit, check=False)
        machine.run("systemctl", "reset-failed", unit, check=False)
    said = machine.journal()
    machine.run("sh", "-c", f"rm -rf {UNITS}/upstox-token* {FOLDER}/.env* {FOLDER}/told")
    machine.run("systemctl", "daemon-reload")
    for secret in broker.broker.secrets:
        assert secret not in said, f"a secret is in the journal:\n{said}"


def test_active_means_that_the_first_look_is_over(there):
    """`systemctl start` returns when the renewal is in `.env`, and not before."""
    answer = there.hang()
    before = there.of("ActiveState")
    answer.release.set()
    there.start()

    assert before == "activating"
    assert there.of("ActiveState") == "active"
    assert there.has_live_token()


def test_the_status_is_in_words(there):
    """`systemctl status` shows how long the token lives and what comes next."""
    there.start()
    shown = there.machine.run("systemctl", "status", "--no-pager", SERVICE)
    status = re.search(r'Status: "(.+)"', shown)[1]

    assert status.startswith("The token lives until ")
    assert "03:30 IST. Next: renew silently with the refresh token (" in status


def test_the_journal_is_readable(there):
    """`journalctl -u` tells the story, one line each, and the log file is left out."""
    there.start()
    there.machine.run("systemctl", "stop", SERVICE)
    there.wait_for("ActiveState", "inactive")
    said = there.machine.journal(SERVICE)

    for words in ("INFO Service started for", "renewed silently", "INFO Service stopped."):
        assert words in said
    assert there.machine.run("ls", FOLDER).count(".log") == 0
    assert there.told == ""


def test_a_process_that_hangs_is_replaced(there):
    """A stopped process is killed by the watchdog, the trader told, and the service up again."""
    there.drop_in(SOON + "WatchdogSec=3\nTimeoutAbortSec=1\n")
    there.start()
    first = there.of("MainPID")
    there.machine.run("kill", f"-{signal.SIGSTOP.value}", first)
    there.wait_for_restart(first)

    assert "Watchdog timeout" in there.machine.journal(SERVICE)
    assert "It hung and was ended by the watchdog" in there.told


def test_an_idle_service_feeds_its_watchdog(there):
    """It lives on through several of the watchdog's periods, with the process it had."""
    there.drop_in("[Service]\nWatchdogSec=1\n")
    there.start()
    first, fed = there.of("MainPID"), set()

    def is_fed_thrice():
        fed.add(there.of("WatchdogTimestampMonotonic"))
        return len(fed) > 3

    there.machine.wait_for("three signs of life", is_fed_thrice)
    assert (there.of("MainPID"), there.of("NRestarts")) == (first, "0")


def test_a_killed_process_is_replaced(there):
    """After kill -9 it is up again, and the token is the one that it had renewed before."""
    there.drop_in(SOON)
    there.start()
    first, token = there.of("MainPID"), there.values["access_token"]
    there.machine.run("kill", "-9", first)
    there.wait_for_restart(first)

    assert there.values["access_token"] == token
    assert there.told.startswith(
        f"{SERVICE}: It was killed (signal KILL). systemd starts it again."
    )


def test_it_is_not_given_up_for_good(there):
    """Six kills in a row, one more than systemd bears by default, and it is up again."""
    there.drop_in(SOON)
    there.start()
    for _ in range(6):
        process = there.of("MainPID")
        there.machine.run("kill", "-9", process)
        there.wait_for_restart(process)

    assert there.of("NRestarts") == "6"
    assert there.told.count("killed") == 1


@pytest.mark.parametrize(
    ("keys", "option", "code", "words"),
    [
        ({"UPSTOX_CLIENT_SECRET": ""}, "", "78", "Its configuration is wrong (exit code 78)"),
        ({"UPSTOX_REFRESH_TOKEN": ""}, "--force", "77", "It needs a login"),
        ({}, "--frobnicate", "2", "Its command line is wrong (exit code 2)"),
    ],
)
def test_what_time_cannot_mend_is_not_repeated(there, keys, option, code, words):
    """Exit codes 78, 77 and 2 end in `failed`, without a restart, and the alert's unit runs."""
    there.set_up(**keys)
    line = re.search(r"(?m)^ExecStart=.+$", (ROOT / "deploy" / SERVICE).read_text("utf-8"))[0]
    there.drop_in(SOON + f"ExecStart=\n{line} {option}\n")
    there.start(check=False)
    there.wait_for("ActiveState", "failed")
    there.machine.wait_for("the alert", lambda: there.of("ExecMainExitTimestamp", ALERT))

    assert (there.of("ExecMainStatus"), there.of("NRestarts")) == (code, "0")
    assert there.of("Result", ALERT) == "success"
    assert there.told.count(words) == 1


def test_a_stop_waits_for_the_token_under_way(there):
    """`systemctl stop` during a renewal ends it when the reply has come and is in `.env`."""
    answer = there.hang()
    there.machine.run("systemctl", "stop", "--no-block", SERVICE)
    there.wait_for("ActiveState", "deactivating")
    answer.release.set()
    there.wait_for("ActiveState", "inactive")

    assert there.has_live_token()


def test_a_reload_looks_at_once(there):
    """`systemctl reload` has an edit of the `.env` count now, with the same process."""
    there.start()
    first = there.of("MainPID")
    there.machine.run("sed", "-i", "s/^access_token=.*/access_token=/", ENV_FILE)
    there.machine.run("systemctl", "reload", SERVICE)
    there.machine.wait_for("another token", there.has_live_token)

    assert there.of("MainPID") == first


def test_only_the_env_files_folder_is_writable(there):
    """A command that the service starts can write beside the `.env`, and nowhere else."""
    tried = [HOME, "/root", "/tmp/../var/tmp/..", "/etc", "/usr", "/var/lib", "/opt", "/srv", "/"]
    tried += [f"{HOME}/elsewhere", PYTHON, "/dev/shm/..", "/run", "/sys", "/proc/sys/kernel"]
    there.machine.run("install", "-d", "-o", USER, "-m", "0777", f"{HOME}/elsewhere", "/srv")
    there.machine.run("chmod", "0777", "/srv", "/opt")
    script = ["#!/bin/sh", f"for folder in {FOLDER} {' '.join(tried)}; do"]
    script += ['(: > "$folder/written") 2>/dev/null && echo "$folder"', f"done > {FOLDER}/.env.w"]
    script += [
        f"mv {FOLDER}/.env.w {FOLDER}/.env.wrote",
        f"cat {HOME}/readable >> {FOLDER}/.env.wrote",
    ]
    there.machine.write(f"{FOLDER}/probe", "\n".join(script) + "\n", mode="0755", owner=USER)
    there.machine.write(f"{HOME}/readable", "home can be read\n", owner=USER)
    there.set_up(access_token="", UPSTOX_ON_RENEW=f"{FOLDER}/probe")
    there.start()
    wrote = f"{FOLDER}/.env.wrote"
    there.machine.wait_for("the probe", lambda: "home" in there.machine.read(wrote))

    assert there.machine.read(wrote).splitlines() == [FOLDER, "home can be read"]


def test_a_command_sees_nothing_of_the_supervisor(there):
    """UPSTOX_ON_RENEW cannot say READY=1 in the service's name, nor read its credentials."""
    seen = f"{FOLDER}/.env.seen"
    line = f"sh -c 'env > {seen}.new && mv {seen}.new {seen}'"
    there.set_up(access_token="", UPSTOX_ON_RENEW=line)
    there.start()
    there.machine.wait_for("the command", lambda: there.machine.read(seen))
    names = {line.partition("=")[0] for line in there.machine.read(seen).splitlines()}

    assert "INVOCATION_ID" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


@pytest.fixture
def credentials(there):
    """Client ID and secret in files of root's, handed over by the template's own lines."""

    def put(secret):
        keys = {"UPSTOX_CLIENT_ID": "", "UPSTOX_CLIENT_SECRET": ""}
        seen = f"{FOLDER}/.env.seen"
        there.set_up(**keys, UPSTOX_ON_RENEW=f"sh -c 'env > {seen}.new && mv {seen}.new {seen}'")
        there.machine.write("/etc/upstox-token/client-id", "sim-client\n", mode="0600")
        there.machine.write("/etc/upstox-token/client-secret", secret + "\n", mode="0600")
        template = (ROOT / "deploy" / SERVICE).read_text(encoding="utf-8")
        lines = re.findall(r"(?m)^#(LoadCredential=UPSTOX_CLIENT_\S+)$", template)
        there.drop_in("\n".join(["[Service]", *lines, ""]))

    yield put
    there.machine.run("rm", "-rf", "/etc/upstox-token")


def test_secrets_may_be_credentials(there, credentials):
    """With LoadCredential= the `.env` needs no secret, and no command of ours gets one."""
    credentials(CLIENT_SECRET)
    there.start()
    there.machine.wait_for("the command", lambda: there.machine.read(f"{FOLDER}/.env.seen"))
    environment = there.machine.read(f"/proc/{there.of('MainPID')}/environ")

    assert there.has_live_token()
    assert "CREDENTIALS_DIRECTORY=" in environment
    assert CLIENT_SECRET not in environment + there.machine.read(ENV_FILE)
    assert "CREDENTIALS_DIRECTORY" not in there.machine.read(f"{FOLDER}/.env.seen")


def test_a_wrong_credential_is_named(there, credentials):
    """The journal says which file holds the slip, and the service stays down."""
    credentials("a secret with blanks")
    there.start(check=False)
    said = there.machine.journal(SERVICE)

    assert (there.of("ActiveState"), there.of("ExecMainStatus")) == ("failed", "78")
    assert f"(of /run/credentials/{SERVICE}/UPSTOX_CLIENT_SECRET, which outranks the file)" in said
    assert "with blanks" not in said


def test_the_timer_makes_up_for_a_missed_look(there):
    """A machine that was off at the last look looks as soon as the timer is there again."""
    there.install(ONCE, TIMER)
    there.drop_in("[Timer]\nRandomizedDelaySec=0\n", TIMER)
    stamp = f"/var/lib/systemd/timers/stamp-{TIMER}"
    there.machine.run("install", "-D", "/dev/null", stamp)
    there.machine.run("touch", "-d", "2 hours ago", stamp)
    there.start(unit=TIMER)
    there.machine.wait_for("a renewal", there.has_live_token)
    there.wait_for("ActiveState", "inactive", ONCE)

    assert (there.of("Result", ONCE), there.of("ExecMainStatus", ONCE)) == ("success", "0")


def test_the_timer_fires_again_and_again(there):
    """Each time it starts `--once`; that a person must act is no failure of the unit."""
    there.set_up(access_token="", UPSTOX_REFRESH_TOKEN="", UPSTOX_SESSION="03:31-23:59")
    there.install(ONCE, TIMER)
    each_second = "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nRandomizedDelaySec=0\nAccuracySec=1ms\n"
    there.drop_in(each_second, TIMER)
    there.start(unit=TIMER)
    runs = set()

    def has_run_thrice():
        runs.add(there.of("InvocationID", ONCE))
        return len(runs - {""}) > 2

    there.machine.wait_for("three looks", has_run_thrice)
    there.machine.run("systemctl", "stop", TIMER)
    there.machine.wait_for(
        "the last", lambda: there.of("ActiveState", ONCE) in ("inactive", "failed")
    )

    assert there.of("Result", ONCE) == "success"
    assert there.of("ActiveState", ALERT) == "inactive"


@pytest.fixture
def lingering(there):
    """The trader's own systemd runs, as it does while somebody is logged in."""

    def is_up():
        said = there.machine.as_user("systemctl", "--user", "is-system-running", check=False)
        return said.strip() in ("running", "degraded")

    there.machine.run("loginctl", "enable-linger", USER)
    there.machine.wait_for("the user's manager", is_up)
    yield f"{HOME}/.config/systemd/user"
    there.machine.run("rm", "-rf", f"{HOME}/.config")
    there.machine.run("loginctl", "disable-linger", USER)


def test_a_user_unit_needs_no_root(there, lingering):
    """The same file, without what stands between its marks, runs under `systemctl --user`."""
    template = (ROOT / "deploy" / SERVICE).read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^# >>> system units only\n.*?^# <<< system units only\n", "", template)
    text = re.sub(r"(?m)^# user units: (.+)\n.+$", r"\1", text)
    there.machine.as_user("mkdir", "-p", lingering)
    there.machine.write(f"{lingering}/{SERVICE}", text, owner=USER)
    there.machine.as_user("systemctl", "--user", "enable", "--now", SERVICE)
    shown = there.machine.as_user("systemctl", "--user", "status", "--no-pager", SERVICE)
    there.machine.as_user("systemctl", "--user", "disable", "--now", SERVICE)

    assert 'Status: "The token lives until' in shown
    assert there.has_live_token()


def test_a_new_token_restarts_a_strategy_of_the_users_own_systemd(there, lingering):
    """`systemctl --user restart` in UPSTOX_ON_RENEW works from the machine's sandboxed unit."""
    machine = there.machine
    strategy = "[Service]\nExecStart=/bin/sleep infinity\n"
    machine.write(f"{lingering}/strategy.service", strategy, owner=USER)
    machine.as_user("systemctl", "--user", "daemon-reload")
    machine.as_user("systemctl", "--user", "start", "strategy")
    show = ("systemctl", "--user", "show", "--value", "--property=InvocationID", "strategy")
    before = machine.as_user(*show)
    there.set_up(access_token="", UPSTOX_ON_RENEW="systemctl --user restart strategy")
    there.start()

    machine.wait_for("a restart", lambda: machine.as_user(*show) != before)
