"""Side work waits for nobody and keeps nobody waiting; what fails is logged and left behind."""

import logging
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from broker_tokens.errors import StoreError
from broker_tokens.notices.courier import Courier

LIMIT = timedelta(seconds=30)
SECONDS = LIMIT.total_seconds()
MOST_WAITING = 50


class Hang:
    """A job that hangs until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.let_go = threading.Event()

    def __call__(self) -> None:
        self.started.set()
        assert self.let_go.wait(SECONDS)


@pytest.fixture
def hang():
    """A hanging job, which ends with the test at the latest."""
    job = Hang()
    yield job
    job.let_go.set()


@pytest.fixture
def busy(hang):
    """A courier that hangs in its first job."""
    courier = Courier()
    courier.submit(hang)
    assert hang.started.wait(SECONDS)
    yield courier
    hang.let_go.set()
    assert courier.drain(LIMIT)


def test_who_submits_does_not_wait_for_a_job_that_hangs(busy, hang):
    """Here it would be forever: the job is let go only after the caller is back."""
    done = []
    busy.submit(lambda: done.append("next"))

    assert done == []
    assert not busy.drain(timedelta(0))
    hang.let_go.set()
    assert busy.drain(LIMIT)
    assert done == ["next"]


def test_jobs_are_done_in_order_one_at_a_time_in_another_thread():
    """The next notice does not overtake the last."""
    courier, done, threads = Courier(), [], set()

    def job(number):
        threads.add(threading.get_ident())
        done.append(number)

    for number in range(30):
        courier.submit(lambda number=number: job(number))

    assert courier.drain(LIMIT)
    assert done == list(range(30))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_too_much_is_dropped_and_logged(busy, hang, caplog):
    """What waits is bounded; what was taken is done, and there is room again after it."""
    done = []
    for number in range(MOST_WAITING + 3):
        busy.submit(lambda number=number: done.append(number))
    hang.let_go.set()
    assert busy.drain(LIMIT)
    busy.submit(lambda: done.append("later"))
    assert busy.drain(LIMIT)

    assert done == [*range(MOST_WAITING), "later"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3


def what_is_done_after(error):
    """Have a job fail, and return what the job behind it has done."""
    courier, done = Courier(), []

    def fail():
        raise error

    courier.submit(fail)
    courier.submit(lambda: done.append("next"))
    assert courier.drain(LIMIT)
    return done


@pytest.mark.parametrize("error", [ValueError("x"), OSError(5, "x"), AssertionError(), MemoryError])
def test_a_job_that_fails_is_logged_and_the_next_is_done(error, caplog):
    """An exception of somebody else's code ends nothing."""
    assert what_is_done_after(error) == ["next"]
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_an_error_that_people_can_mend_is_one_line_of_the_log(caplog):
    """A full disk is no defect, and needs no traceback."""
    error = StoreError("The disk is full.", "Free some room.")

    assert what_is_done_after(error) == ["next"]
    assert [record.exc_info for record in caplog.records] == [None]
    assert "Free some room." in caplog.text


def test_nothing_to_do_is_done_at_once():
    """No thread is started for a service that tells nobody."""
    before = threading.active_count()

    assert Courier().drain(timedelta(0))
    assert threading.active_count() == before


def test_a_job_can_submit_another():
    """Both are waited for."""
    courier, done = Courier(), []
    courier.submit(lambda: courier.submit(lambda: done.append("second")))

    assert courier.drain(LIMIT)
    assert done == ["second"]


def test_many_threads_can_submit_at_once():
    """The service's loop and the listener share it: nothing is lost, and drain sees all of it."""
    courier, done = Courier(), []
    barrier = threading.Barrier(4)

    def submit(name):
        barrier.wait(SECONDS)
        for number in range(10):
            courier.submit(lambda number=number: done.append((name, number)))

    threads = [threading.Thread(target=submit, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)

    assert courier.drain(LIMIT)
    assert sorted(done) == [(name, number) for name in range(4) for number in range(10)]


def test_a_job_that_hangs_keeps_no_process_alive():
    """The service ends when it is told to, whatever a channel does."""
    program = (
        "import threading\n"
        "from broker_tokens.notices.courier import Courier\n"
        "started = threading.Event()\n"
        "Courier().submit(lambda: (started.set(), threading.Event().wait()))\n"
        "assert started.wait(30)\n"
        "print('main is through')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
    )

    assert ended.stdout == b"main is through\n"
