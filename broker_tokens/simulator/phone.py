"""The person with the phone, for whoever plays with the simulator: two addresses, or a delay."""

from contextlib import suppress
from threading import Timer

from broker_tokens.simulator.broker import Endpoint, Recorded, SimulatedUpstox
from broker_tokens.simulator.wire import Request, Response, json_response

APPROVE_PATH = "/simulator/approve"
REJECT_PATH = "/simulator/reject"


def tap(broker: SimulatedUpstox, request: Request) -> Response | None:
    """Answer a tap on the phone; None: the request is one for the broker itself."""
    if request.path not in (APPROVE_PATH, REJECT_PATH):
        return None
    if request.method != "POST":
        return json_response({"status": "error", "message": "tap with POST"}, 405)
    try:
        if request.path == REJECT_PATH:
            broker.reject()
            return json_response({"status": "success", "message": "rejected; nothing was sent"})
        broker.approve()
    except LookupError as error:
        return json_response({"status": "error", "message": str(error)}, 409)
    status = broker.deliveries[-1].status
    said = f"the webhook was answered with {status}" if status else "nobody took the webhook"
    return json_response({"status": "success", "message": f"approved; {said}"})


def approve_later(broker: SimulatedUpstox, record: Recorded, seconds: float) -> None:
    """Approve a request for approval that was taken, after a number of real seconds."""
    if record.endpoint is Endpoint.APPROVAL and not record.error_code:
        timer = Timer(seconds, _approve, (broker,))
        timer.daemon = True
        timer.start()


def _approve(broker: SimulatedUpstox) -> None:
    # Answered by hand in the meantime, or ended at 03:30.
    with suppress(LookupError):
        broker.approve()
