"""A wait ends when it is told to, from any thread, and never before."""

import resource
import signal
import socket
import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest
from support.hostile import LIMIT

from broker_tokens.waker import Stopping, Waker

LONG = timedelta(seconds=LIMIT)
NONE = timedelta(0)


@pytest.fixture
def waker():
    waker = Waker()
    yield waker
    waker.close()


def test_broker_waker_times_out_and_is_woken(waker):
    """A wake-up counts once, for the present or the next wait; many in a row count as one."""
    assert not waker.wait(NONE)

    for _ in range(100_000):
        waker.wake()

    assert waker.wait(LONG)
    while waker.wait(NONE):
        pass  # a full buffer is drained piece by piece
    assert not waker.wait(NONE)


def test_broker_waker_wakes_another_thread(waker):
    """A wait is ended from another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(waker.wait(LONG)))
    thread.start()
    waker.wake()
    thread.join(LIMIT)

    assert found == [True]


def test_broker_stop_ends_a_pause(waker):
    """A pause that is stopped raises, and so does every later one."""
    threading.Thread(target=waker.stop).start()

    with pytest.raises(Stopping):
        waker.pause(LIMIT)
    with pytest.raises(Stopping):
        waker.pause(LIMIT)


def test_broker_stop_ends_a_wait_for_something_else(waker):
    """What is waited for may be given up; what is done before the stop is still reported."""
    done = Waker()
    done.wake()
    assert waker.wait_for(done, NONE)
    assert not waker.wait_for(done, NONE)

    threading.Thread(target=waker.stop).start()
    with pytest.raises(Stopping):
        waker.wait_for(done, LONG)
    done.close()


def test_broker_wake_up_that_is_no_stop_goes_on_waiting(waker):
    """A signal that does not mean the end disturbs no request."""
    done = Waker()
    waker.wake()

    assert not waker.wait_for(done, timedelta(milliseconds=1))
    done.close()


def test_broker_signal_ends_a_wait(waker):
    """The wake-up descriptor of the signal module may be the writer."""
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    before = signal.set_wakeup_fd(waker.writer.fileno(), warn_on_full_buffer=False)
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert waker.wait(LONG)
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR1, handler)


def test_broker_wake_after_close_is_nothing(waker):
    """A request's thread that ends late wakes a waker that is closed already."""
    other = Waker()
    other.close()

    other.wake()


def test_broker_waker_works_in_a_process_with_many_connections():
    """`select` knows descriptors below 1024 only; a strategy may hold more than that open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this machine allows no descriptor above 1024")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    try:
        with ExitStack() as stack:
            while stack.enter_context(socket.socket()).fileno() < 1030:
                pass
            waker = Waker()
            waker.wake()
            assert waker.wait(LONG)
            waker.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
