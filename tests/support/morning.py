"""A service with its listener in a process of its own, which dies at a file operation if told so.

Run as `python -m support.morning ENV_FILE PORT START DIE_AT`: from START (IST) on it does what the
service does, says each event on standard output, and ends when standard input does. DIE_AT is the
number of the write, rename or removal in the `.env`'s folder at which it kills itself; 0: never.
"""

import os
import signal
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

from broker_tokens.announcer import Announcer
from broker_tokens.app import build_service
from broker_tokens.clock import IST
from broker_tokens.inbox import is_any_waiting
from broker_tokens.listener import listening
from broker_tokens.place import Place
from broker_tokens.simulator.pace import AcceleratedClock
from broker_tokens.waker import Waker

_WRITING = os.O_WRONLY | os.O_RDWR


def die_at(number: int, folder: str) -> None:
    """Kill this process, without warning, at the given file operation in the folder."""
    done = 0

    def hook(event, arguments):
        nonlocal done
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if not is_write and event not in ("os.rename", "os.remove"):
            return
        if isinstance(arguments[0], str) and arguments[0].startswith(folder):
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def say(words: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main(env_file: str, port: str, start: str, number: str) -> None:
    """Serve until standard input ends."""
    clock = AcceleratedClock(datetime.fromisoformat(start).replace(tzinfo=IST), 1.0)
    announcer = Announcer([lambda event: say(type(event).__name__)])
    waker = Waker()
    threading.Thread(target=lambda: (sys.stdin.read(), waker.stop()), daemon=True).start()
    if int(number):
        die_at(int(number), str(Path(env_file).parent))
    place = Place("127.0.0.1", int(port))
    with listening(env_file, place, announcer, waker.wake, environ={}, clock=clock):
        service = build_service(
            env_file, environ={}, clock=clock, announcer=announcer, is_listening=True
        )
        say("listening")
        while not waker.stopping:
            service.tick()
            if not is_any_waiting(env_file):
                look = service.look()
                say("idle: live" if look.situation.is_live(look.now) else "idle: none")
            waker.wait(timedelta(seconds=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
