"""The broker has renewed, and its answer never comes.

RFC 6749 section 6 lets a server replace the refresh token at each use and says nothing of repeats;
RFC 9700 section 4.14.2 lets it take a repeat for theft and end the whole login. A client cannot
tell whether the server has acted, so ours repeats the same request soon: that is right at a server
that has not acted, keeps its refresh tokens, or forgives a repeat; and where the repeat ends the
login, the refresh token that we hold was worth nothing any more.
"""

import json
import tempfile
from pathlib import Path
from random import Random

import requests
from support.hostile import HostileServer, Line, Script
from support.house import House, ist, running_house

from broker_tokens.backoff import FIRST_RETRY
from broker_tokens.simulator.broker import RefreshGrant
from proofs.finding import Finding

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_REFRESH_TOKEN = b'"refresh_token"'

# These renew once more when a repeat comes soon.
_FORGIVING = (RefreshGrant.ON, RefreshGrant.GRACE)


class _Losses:
    """Ways to lose a reply, at the server in front of which they stand."""

    def __init__(self, house: House, dice: Random) -> None:
        self._house = house
        self._dice = dice
        self.salvageable = False  # what came of the reply holds the next refresh token whole

    def _act(self, line: Line) -> bytes:
        """Have the broker renew; return its reply as it goes over the wire."""
        received = line.read_request()
        answer = requests.request(
            received.method,
            self._house.url + received.path,
            data=received.body,
            headers=_FORM,
            timeout=10,
        )
        fields = list(answer.json().items())
        self._dice.shuffle(fields)  # no standard gives them an order
        body = json.dumps(dict(fields)).encode()
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def dropped_before(self, line: Line) -> None:
        """Break off before the broker has acted."""
        line.read_request()
        line.reset()

    def dropped_after(self, line: Line) -> None:
        """Break off after it has acted."""
        self._act(line)
        line.reset()

    def unavailable_after(self, line: Line) -> None:
        """Answer 503, though it has acted."""
        self._act(line)
        line.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    def half_a_body(self, line: Line) -> None:
        """Break off somewhere in the reply."""
        reply = self._act(line)
        end = self._dice.randrange(reply.index(b"\r\n\r\n"), len(reply))
        begin = reply.index(_REFRESH_TOKEN) + len(_REFRESH_TOKEN)
        self.salvageable = end > reply.index(b'"', reply.index(b'"', begin) + 1)
        line.send(reply[:end])

    def whole(self, line: Line) -> None:
        """Answer as the broker does."""
        line.send(self._act(line))


def lost_replies(count: int) -> Finding:
    """Lose `count` replies of each kind at each kind of server, and repeat when it is due."""
    finding = Finding()
    kept = lost = 0
    for server in (RefreshGrant.ON, RefreshGrant.GRACE, RefreshGrant.ROTATING):
        for kind in ("dropped_before", "dropped_after", "unavailable_after", "half_a_body"):
            for number in range(count):
                point = f"{kind} at a server {server.value}, {number}"
                expected, has_token = _lose_one(server, kind, Random(number), finding, point)
                if expected != has_token:
                    finding.broken.append(f"{point}: {'no ' * expected}token")
                kept, lost = kept + has_token, lost + (not has_token)
    finding.tried = f"{kept + lost:,} replies, 4 ways of losing, 3 kinds of server"
    finding.survived = (
        f"{kept:,} logins; {lost:,} at a server that has acted and forgives no repeat needed a"
        " new login, the person asked at the next hour for it"
    )
    return finding


def _lose_one(
    server: RefreshGrant, kind: str, dice: Random, finding: Finding, point: str
) -> tuple[bool, bool]:
    """Return whether a token can be had after a lost reply, and whether one was."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_house(Path(folder), "2026-11-19 09:00", server) as house,
    ):
        house.log_in()
        losses = _Losses(house, dice)
        scripts: tuple[Script, ...] = (getattr(losses, kind), losses.whole)
        with HostileServer(scripts) as front:
            house.set(UPSTOX_API_URL=front.url)
            house.clock.now = ist("2026-11-20 03:31:30")
            service = house.service()
            service.tick()
            retry_at = service.look().state.retry_at
            if retry_at is None or retry_at - house.clock.now > FIRST_RETRY:
                finding.broken.append(f"{point}: repeated at {retry_at}")
                return True, False
            house.clock.now = retry_at
            has_token = service.tick().look.situation.is_live(retry_at)
            if not has_token:
                house.clock.now = ist("2026-11-20 08:00")
                if service.tick().look.state.told is None:
                    finding.broken.append(f"{point}: nobody was told")
    can_be_had = kind == "dropped_before" or server in _FORGIVING or losses.salvageable
    return can_be_had, has_token
