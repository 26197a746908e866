"""The line of the crontab: kept, found, and read by cron and sh as it was meant."""

import subprocess
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from unit.install.nasty import NASTY, nasty_machine, paths

from broker_tokens.install import cron
from broker_tokens.install.job import make_job

OTHERS = [
    b"",
    b"# mine\n0 9 * * 1-5 cd ~/bot && ./start\n",
    b"MAILTO=me@example.com\r\n@reboot x\n\n\n",
    b"0 1 * * * echo no line end",
    b"# caf\xe9 in latin-1\n* * * * * true \\% %x\n",
]


@pytest.mark.parametrize("text", OTHERS)
def test_the_other_lines_stay_as_they_are(played, install_on, text):
    """Byte for byte, before and after; a missing line end is all that is added."""
    played.crontab = text or None
    install_on(played, "cron", "--apply")
    with_ours = played.crontab
    install_on(played, "cron", "--uninstall")

    assert with_ours.startswith(text)
    assert (played.crontab or b"").rstrip(b"\n") == text.rstrip(b"\n")
    assert (played.crontab or b"").startswith(text)


def test_lines_added_below_ours_stay(played, install_on):
    """Our line is replaced where it stands."""
    install_on(played, "cron", "--apply")
    played.crontab += b"5 5 * * * mine\n"
    once = played.crontab
    install_on(played, "cron", "--apply")

    assert played.crontab == once
    install_on(played, "cron", "--uninstall")
    assert played.crontab == b"5 5 * * * mine\n"


@pytest.mark.parametrize("between", [b"MAILTO=\n", b"\nMAILTO = me@x\n\nSHELL=/bin/sh\n"])
def test_what_stands_between_the_mark_and_the_line_stays(played, install_on, between):
    """Where its output is mailed to is kept; there is one line, and then none."""
    install_on(played, "cron", "--apply")
    mark, line, _ = played.crontab.split(b"\n")
    edited = b"0 9 * * * mine\n" + mark + b"\n" + between + line + b"\n5 5 * * * mine\n"
    played.crontab = edited.replace(b".venv", b"old")
    updated = install_on(played, "cron", "--apply")

    assert updated.code == 0, updated.err
    assert played.crontab == edited
    assert install_on(played, "cron", "--uninstall").out.startswith("Taken away")
    assert played.crontab == b"0 9 * * * mine\n" + between + b"5 5 * * * mine\n"


@pytest.mark.parametrize("other", [b"# mine\n", b"", b"5 5 * * * x token_refresh_service.py\n"])
def test_a_line_of_another_is_not_taken_for_ours(played, install_on, other):
    """With our own line deleted by hand, the next one stays when ours is put there again."""
    install_on(played, "cron", "--apply")
    mark, line, _ = played.crontab.split(b"\n")
    played.crontab = mark + b"\n\n" + other
    install_on(played, "cron", "--apply")

    assert played.crontab == mark + b"\n" + line + b"\n\n" + other


def test_a_crontab_that_may_not_be_read_is_not_replaced(played, install_on):
    """Refused by cron.deny is not the same as empty."""
    played.failing = {"crontab -l": "You (trader) are not allowed to use this program (crontab)"}
    refused = install_on(played, "cron", "--apply")

    assert refused.code == 78
    assert "not allowed" in refused.err
    assert played.crontab is None


def second_at_first_look(played, step):
    """Return a machine at whose first look into the crontab another installation begins."""
    other = threading.Thread(target=step.do, args=[played.machine])

    def run(command, **options):
        done = played.run(command, **options)
        if other.ident is None:
            other.start()
            other.join(0.2)  # it has all the time that it needs, unless it waits for its turn
        return done

    return replace(played.machine, run=run), other


def test_two_who_install_at_once(played):
    """Each waits for its turn: no line is lost."""
    jobs = [make_job(str(played.env_file(name)), played.machine, name=name) for name in "ab"]
    steps = [cron.ChangeCrontab(job, cron.line(job, played.machine)) for job in jobs]
    machine, other = second_at_first_look(played, steps[1])
    steps[0].do(machine)
    other.join()

    assert [name for name, _ in cron.marks(played.crontab.decode())] == ["a", "b"]


@pytest.mark.parametrize("deed", ["--apply", "--uninstall"])
def test_what_another_program_has_written_over_is_told(played, install_on, deed):
    """Who edits the crontab in the same instant knows of no turn: the line is looked for again."""
    if deed == "--uninstall":
        install_on(played, "cron", "--apply")
    edited = played.crontab
    run = played.run

    def overwritten(command, **options):
        done = run(command, **options)
        if command in (("crontab", "-"), ("crontab", "-r")):
            played.crontab = edited
        return done

    played.run = overwritten
    failed = install_on(played, "cron", deed)

    assert failed.code == 78
    assert "again" in failed.err


def test_a_home_that_takes_no_file(played, install_on):
    """An account of the system may have none: its crontab is changed all the same."""
    (played.home / ".cache").write_bytes(b"")

    assert install_on(played, "cron", "--apply").code == 0


def run_as_cron_does(line, folder):
    """Run a line's command in cron's surroundings.

    An unescaped % would end it; what a backslash does to one differs between crons, so there is no
    % in it at all.
    """
    assert "%" not in line
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "x"}
    return subprocess.run(
        ["/bin/sh", "-c", line.split(maxsplit=5)[5]],
        cwd=folder,
        env=environ,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_path_reaches_the_program(tmp_path, name):
    """Through cron's rule for % and sh's for all else, the program gets the paths as they are."""
    machine, place = nasty_machine(tmp_path, name)
    job = make_job(str(place / ".env"), machine)
    line = cron.line(job, machine)
    ran = run_as_cron_does(line, tmp_path)

    assert ran.stderr == b""
    assert ran.stdout.decode().split("\n")[:-1] == [
        str(place),
        str(place / "token_refresh_service.py"),
        "--once",
        "--env-file",
        str(place / ".env"),
    ]
    assert cron.env_of_line(line, str(tmp_path)) == str(place / ".env")


@given(paths)
def test_any_path_survives(name):
    """What cron and sh make of a quoted path is that path, and it is found again."""
    quoted = cron.quoted(f"/{name}")
    said = subprocess.run(["/bin/sh", "-c", f"printf %s {quoted}"], capture_output=True, check=True)

    assert "%" not in quoted
    assert said.stdout.decode() == f"/{name}"
    line = f"* * * * * x token_refresh_service.py --env-file {quoted}"
    assert cron.env_of_line(line, "/") == f"/{name}"
