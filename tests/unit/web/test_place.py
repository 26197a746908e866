"""--listen HOST:PORT."""

import pytest

from broker_tokens.place import Place, parse_place

PLACES = {
    "8765": (Place("127.0.0.1", 8765), "127.0.0.1:8765", True),
    ":8765": (Place("127.0.0.1", 8765), "127.0.0.1:8765", True),
    " localhost:0 ": (Place("localhost", 0), "localhost:0", True),
    "[::1]:65535": (Place("::1", 65535), "[::1]:65535", True),
    "0.0.0.0:80": (Place("0.0.0.0", 80), "0.0.0.0:80", False),
    "vps.example.com:443": (Place("vps.example.com", 443), "vps.example.com:443", False),
}


@pytest.mark.parametrize("text", PLACES)
def test_a_place_is_read_and_shown(text):
    """A port alone is this machine itself, which is the only place that is not open to others."""
    place, shown, is_loopback = PLACES[text]

    assert parse_place(text) == place
    assert (str(place), place.is_loopback) == (shown, is_loopback)


@pytest.mark.parametrize(
    "text", ["", "localhost", "localhost:", "65536", "-1", "::1:80", "x:8o", "x:\u0661", "1:2:3"]
)
def test_what_is_no_place_is_refused(text):
    """With the form that is wanted."""
    with pytest.raises(ValueError, match=r"not of the form 127\.0\.0\.1:8765"):
        parse_place(text)
