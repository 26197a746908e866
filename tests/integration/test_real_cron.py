"""Debian's cron runs the line that `install cron --apply` wrote, its clock a thousand times faster.

It is a cron of its own, in a mount namespace: the machine's crontabs are out of its sight.
"""

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from support.doors import LIMIT, ROOT, open_doors
from support.proxies import program

from broker_tokens.attendance import attendance
from broker_tokens.simulator.broker import RefreshGrant
from proofs.real_clock import libfaketime

# Ten minutes of cron's clock are a second of ours.
PACE = 600

# cron's own folders are new and empty for it; it finds no other job, and no other cron.
SCRIPT = """
set -e
mount -t tmpfs none /var/spool/cron
mkdir /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
chmod 1730 /var/spool/cron/crontabs
mount -t tmpfs none /etc/cron.d
mount --bind /dev/null /etc/crontab
mount -t tmpfs none /run
printf '# mine\\n5 4 1 1 * true\\n' | crontab -
"$PYTHON" -m broker_tokens install cron --apply --env-file "$ENV_FILE"
crontab -l > "$FOLDER/installed"
LD_PRELOAD="$FAKETIME" FAKETIME="@2026-11-20 09:00:00 x$PACE" "$CRON" -f &
echo ready
read -r _
"$PYTHON" -m broker_tokens install cron --uninstall --env-file "$ENV_FILE"
crontab -l > "$FOLDER/left"
"""


@contextmanager
def running_cron(doors):
    """Install the line and run cron until left; what the crontab held goes into the folder."""
    program("faketime")
    environ = os.environ | {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "ENV_FILE": str(doors.env_file),
        "FOLDER": str(doors.folder),
        "FAKETIME": str(libfaketime()),
        "CRON": program("cron"),
        "PACE": str(PACE),
    }
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while (line := process.stdout.readline()) != "ready\n":
            assert line, process.stderr.read()
        yield
    finally:
        _, said = process.communicate("\n", LIMIT)
        assert process.returncode == 0, said


def looks(doors, count):
    """Return the times of that many looks, one after the other."""
    seen, pause = [], threading.Event()
    give_up_at = time.monotonic() + LIMIT
    while len(seen) < count:
        look = attendance(str(doors.env_file)).last_look
        if look is not None and look not in seen:
            seen.append(look)
        assert time.monotonic() < give_up_at, f"only {len(seen)} looks"
        pause.wait(0.02)
    return seen


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root has namespaces")
def test_cron_renews_by_the_line_that_install_wrote(tmp_path):
    """Three looks in as many seconds, a renewed token in `.env`, and no trace afterwards."""
    with open_doors(tmp_path, RefreshGrant.ROTATING) as doors:
        doors.log_in()
        doors.set(access_token="")
        with running_cron(doors):
            times = looks(doors, 3)

        assert doors.broker.is_live(doors.values["access_token"])
        installed = (tmp_path / "installed").read_text(encoding="utf-8")
        left = (tmp_path / "left").read_text(encoding="utf-8")
    assert times == sorted(times)
    assert installed.startswith(left)
    assert left == "# mine\n5 4 1 1 * true\n"
