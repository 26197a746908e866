"""`upstox-token simulate`: what it prints, how it ends, and its clock."""

import argparse
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from unit.simulator.practice import CREDENTIALS, PROFILE, TOKEN, at

from broker_tokens.simulator.broker import Endpoint, Recorded
from broker_tokens.simulator.command import EXIT_TEMPORARY, add_arguments, describe, run
from broker_tokens.simulator.pace import AcceleratedClock

ROOT = Path(__file__).parents[3]
PROGRAM = """
import argparse, sys
from broker_tokens.simulator.command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args()))
"""

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@contextmanager
def simulator(*arguments):
    """Run the command in a process of its own, standard input closed."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, "--port", "0", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def env_of(process):
    """Return the four settings that a simulator prints first."""
    return dict(process.stdout.readline().rstrip("\n").split("=", 1) for _ in range(4))


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_answers_and_ends_on_a_signal(number):
    """It prints the settings, answers at that address, and ends at once with exit code 0."""
    with simulator() as process:
        env = env_of(process)
        with requests.Session() as session:
            session.trust_env = False
            status = session.get(env["UPSTOX_API_URL"] + PROFILE, timeout=5).status_code
            process.send_signal(number)
            rest, talk = process.communicate(timeout=2)

    assert status == 401
    assert process.returncode == 0
    assert rest == ""
    assert "Traceback" not in talk
    assert env == {
        "UPSTOX_API_URL": env["UPSTOX_API_URL"],
        "UPSTOX_CLIENT_ID": "sim-client",
        "UPSTOX_CLIENT_SECRET": "sim-secret",
        "UPSTOX_REDIRECT_URI": "http://localhost:3000/callback",
    }


@posix_only
def test_talk_is_readable_and_free_of_secrets():
    """Each request is one line with the simulated time, and nothing that the client sent."""
    with simulator("--at", "2026-11-20T09:00", "--speed", "0") as process:
        url = env_of(process)["UPSTOX_API_URL"]
        form = CREDENTIALS | {"grant_type": "authorization_code", "code": "planted"}
        with requests.Session() as session:
            session.trust_env = False
            session.post(url + TOKEN, form, timeout=5)
            session.post(url + TOKEN, form | {"grant_type": "planted\nline"}, timeout=5)
            session.get(url + "/planted", headers={"Authorization": "Bearer planted"}, timeout=5)
        process.terminate()
        _, talk = process.communicate(timeout=2)

    assert talk.splitlines() == [
        f"Simulated Upstox at {url}, 2026-11-20 09:00:00 IST.",
        "09:00:00 token request (authorization_code): 400 UDAPI1018",
        "09:00:00 token request (no known grant): 400 UDAPI1018",
        "09:00:00 unknown address: 404 UDAPI100060",
    ]


@posix_only
def test_works_without_standard_error():
    """A closed standard error silences the talk and nothing else."""
    command = 'exec "$0" -c "$1" --port 0 2>&-'
    with subprocess.Popen(
        ["/bin/sh", "-c", command, sys.executable, PROGRAM],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        url = env_of(process)["UPSTOX_API_URL"]
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(url + PROFILE, timeout=5).status_code == 401
        process.terminate()
        assert process.wait(timeout=2) == 0


def test_port_in_use_is_one_sentence(capsys):
    """A port that is taken is temporary trouble, said in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = signal.getsignal(signal.SIGTERM)
        code = run(parsed("--port", str(port)))
    out, err = capsys.readouterr()

    assert code == EXIT_TEMPORARY == 75
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(port) in err
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "65536"),
        ("--port", "-1"),
        ("--port", "x"),
        ("--at", "tomorrow"),
        ("--at", "0001-01-01T00:00+23:00"),
        ("--speed", "-1"),
        ("--speed", "nan"),
        ("--speed", "inf"),
        ("--speed", "fast"),
        ("--refresh", "maybe"),
        ("--client-secret", "a b"),
        ("--client-id", "x\nUPSTOX_API_URL=http://elsewhere"),
        ("--redirect-uri", "http://localhost/#"),
        ("--client-id", ""),
    ],
)
def test_wrong_usage(arguments, capsys):
    """What cannot be meant, or would not survive in a `.env`, is wrong usage."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)

    assert caught.value.code == 2


def test_times_are_ist(monkeypatch):
    """A time without an offset is IST whatever the host's zone; one with an offset is honoured."""
    assert parsed("--at", "2026-11-20T01:55").at == at("2026-11-20T01:55:00")
    assert parsed("--at", "2026-11-19T20:25+00:00").at == at("2026-11-20T01:55:00")
    assert parsed().at is None


def test_accelerated_clock():
    """Real seconds count `speed` times, from the start that was asked for."""
    real = [100.0]
    clock = AcceleratedClock(at("2026-11-20T01:55:00"), 60, lambda: real[0])
    assert clock() == at("2026-11-20T01:55:00")
    real[0] += 95.0

    assert clock() == at("2026-11-20T03:30:00")


def test_clock_at_speed_one_keeps_the_machines_pace():
    """By default a simulated second is a real one."""
    real = [0.0]
    start = datetime(2026, 11, 20, tzinfo=UTC)
    clock = AcceleratedClock(start, monotonic=lambda: real[0])
    real[0] = 1.5

    assert clock() - start == timedelta(seconds=1.5)


@pytest.mark.parametrize("endpoint", Endpoint)
def test_every_request_has_its_line(endpoint):
    """A request that could not be described would end the connection without an answer."""
    now = datetime(2026, 11, 20, 4, 30, tzinfo=UTC)
    line = describe(Recorded(endpoint, now, {}, 200))

    assert line.startswith("10:00:00 ")
    assert line.endswith(": 200")
