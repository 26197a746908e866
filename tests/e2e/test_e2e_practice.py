"""The approval practised as the README says: `simulate`, `notifier`, the service, the phone."""

import signal
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests
from support.doors import SERVICE, UPSTOX_TOKEN, free_port

SIMULATE = (*UPSTOX_TOKEN, "simulate")


@pytest.fixture
def practice(doors):
    """A `.env` as `simulate` prints it, on free ports; the notifier's address."""
    port = free_port()
    with doors.start(*SIMULATE, "--port", str(port)) as running:
        lines = [running.wait_for("UPSTOX_") for _ in range(4)]
        running.send(signal.SIGTERM)
        running.wait()
    settings = dict(line.split("=", 1) for line in lines)
    settings["UPSTOX_REDIRECT_URI"] = f"http://localhost:{free_port()}/callback"
    text = "".join(f"{key}={value}\n" for key, value in settings.items())
    doors.env_file.write_text(text, encoding="utf-8")
    printed = doors.run(*UPSTOX_TOKEN, "notifier")
    assert printed.code == 0
    return printed.out.strip()


@contextmanager
def both(doors, address, *arguments):
    """Run the simulator and the service that listens at its notifier address."""
    simulate = (*SIMULATE, "--port", str(port_of(doors)), "--notifier-url", address)
    with doors.start(*simulate, *arguments) as simulator:
        simulator.wait_for("Simulated Upstox")
        listen = ("--listen", str(urlsplit(address).port))
        with doors.start(*SERVICE, *listen) as service:
            service.wait_for("Next: ")
            yield simulator, service
            service.send(signal.SIGTERM)
            assert service.wait().code == 0
        simulator.send(signal.SIGTERM)
        assert simulator.wait().code == 0


def port_of(doors):
    api_url = doors.env_file.read_text(encoding="utf-8").splitlines()[0].partition("=")[2]
    return urlsplit(api_url).port


def tap(doors, what, method="POST"):
    reply = requests.request(
        method, f"http://127.0.0.1:{port_of(doors)}/simulator/{what}", timeout=10
    )
    return reply.status_code, reply.json()["message"]


def status(doors):
    return doors.run(*UPSTOX_TOKEN, "status").code


def test_a_tap_by_hand_brings_the_token(doors, practice):
    """Asked once, rejected, asked again, approved: the service stores what the webhook brought."""
    with both(doors, practice) as (simulator, service):
        first = doors.run(*UPSTOX_TOKEN, "renew", "--phone")
        rejected = tap(doors, "reject")
        nothing = tap(doors, "approve")
        second = doors.run(*UPSTOX_TOKEN, "renew", "--phone")
        wrong = tap(doors, "approve", method="GET")
        approved = tap(doors, "approve")
        service.wait_for("approved on the phone")
        code = status(doors)
        said = simulator.said

    assert (first.code, second.code, code) == (0, 0, 0)
    assert rejected == (200, "rejected; nothing was sent")
    assert nothing == (409, "no request for approval is pending")
    assert wrong[0] == 405
    assert approved == (200, "approved; the webhook was answered with 200")
    assert f"webhook to {urlsplit(practice).netloc}: 200" in said
    assert practice.rpartition("/")[2] not in said


def test_a_prompt_person_needs_no_tap(doors, practice):
    """--approve-after answers each request by itself."""
    with both(doors, practice, "--approve-after", "0.1") as (_, service):
        asked = doors.run(*UPSTOX_TOKEN, "renew", "--phone")
        service.wait_for("approved on the phone")
        code = status(doors)

    assert (asked.code, code) == (0, 0)


@pytest.mark.parametrize("text", ["", "-1", "soon", "1e9", "123456"])
def test_no_number_of_seconds(doors, text):
    """A wrong value is wrong usage, said in one line."""
    ended = doors.run(*SIMULATE, "--approve-after", text)

    assert ended.code == 2
    assert "is no number of seconds" in ended.err
