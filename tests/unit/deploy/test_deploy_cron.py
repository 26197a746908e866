"""`deploy/crontab.example`, used by hand as it says."""

import subprocess

from support.doors import ROOT


def test_the_line_runs_in_a_bare_shell(tmp_path):
    """The command of the crontab's line runs as cron runs it: sh, six variables, any folder."""
    text = (ROOT / "deploy" / "crontab.example").read_text(encoding="utf-8")
    folder = tmp_path / "broker-tokens"
    line = text.splitlines()[-1].replace("/home/trader/broker-tokens", str(folder))
    minute, *rest = line.split(maxsplit=5)
    program = folder / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@" > ran\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {"HOME": "/", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    subprocess.run(["/bin/sh", "-c", rest[-1]], env=environment, cwd="/", check=True)

    assert (minute, rest[:4]) == ("1-59/10", ["*"] * 4)
    ran = (folder / "ran").read_text(encoding="utf-8")
    assert ran == f"{folder}/token_refresh_service.py --once --env-file {folder}/.env\n"
