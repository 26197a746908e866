"""Many processes and threads that meet a dead token at the same moment.

Run as `python -m proofs.crowd_member ENV_FILE NOW PROCESSES THREADS PATIENCE DEADLINE`: says
"ready", waits for the end of its standard input, and then each thread of each process prints, in
one line, the fingerprint of the token it got or the error. `NOW` is the present in ISO form,
`PATIENCE` how many seconds a caller waits for the lock, `DEADLINE` how many for the broker.
"""

import os
import sys
import threading
from datetime import datetime, timedelta

from broker_tokens.app import build_service
from broker_tokens.errors import TokenError
from broker_tokens.service import TokenService
from broker_tokens.transport import HttpTransport


def main(
    env_file: str, now: str, processes: str, threads: str, patience: str, deadline: str
) -> None:
    """Fork, wait for the word, and ask all at once."""
    import requests  # noqa: F401 -- imported once for all, or this proves the speed of imports

    at = datetime.fromisoformat(now)
    children = []
    for _ in range(int(processes)):
        pid = os.fork()
        if not pid:
            service = build_service(
                env_file,
                environ={},
                clock=lambda: at,
                transport=HttpTransport(deadline=timedelta(seconds=float(deadline))),
                lock_timeout=timedelta(seconds=float(patience)),
            )
            _ask(service, int(threads))
        children.append(pid)
    _say("ready")
    for pid in children:
        os.waitpid(pid, 0)


def _ask(service: TokenService, threads: int) -> None:
    """Wait for the word, then ask from every thread; never returns."""
    while os.read(0, 1):
        pass
    crowd = [threading.Thread(target=_say_token, args=(service,)) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    os._exit(0)


def _say_token(service: TokenService) -> None:
    try:
        answer = service.current_token().fingerprint
    except TokenError as error:
        answer = f"{type(error).__name__}: {error}"
    _say(answer)


def _say(text: str) -> None:
    """Print a line in one write, so that those of many processes do not mix."""
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
