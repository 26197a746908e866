"""The notifier's address: where the broker says it will deliver, and what it can reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.house import ist
from unit.plan.moments import many

from broker_tokens.brokers import ApprovalReply
from broker_tokens.errors import EXIT_CONFIGURATION, ConfigurationError
from broker_tokens.renewals.phone_approval import goes_elsewhere, public_base
from broker_tokens.secrets import Secret

KEY = "k" * 42 + "K"
UPSTOX = "https://api.upstox.com"
CUT = ist("2026-11-21 03:30")

ADDRESSES = {
    f"https://trader.example.com/notifier/{KEY}": "",
    f"https://trader.example.com:8443/notifier/{KEY}": "",
    f"https://trader.example.com/a/folder/of/the/proxy/notifier/{KEY}": "",
    f"https://trader.example.com/notifier/{KEY}?a=query": "",
    "": "",  # the broker does not tell
    f"https://old.example.com/{KEY}": "old.example.com",
    f"https://old.example.com/notifier/{KEY.lower()}": "old.example.com",
    f"https://old.example.com/notifier/{KEY}k": "old.example.com",
    f"https://old.example.com/notifier/k{KEY}": "old.example.com",
    f"https://old.example.com/notifier/{KEY}/more": "old.example.com",
    f"https://old.example.com/?/notifier/{KEY}": "old.example.com",
    f"https://old.example.com/#/notifier/{KEY}": "old.example.com",
    "https://old.example.com/notifier/": "old.example.com",
    "https://old.example.com": "old.example.com",
    f"https://{KEY}:{KEY}@old.example.com/x": "old.example.com",
    f"https://old.example.com/notifi\u00e9r/{KEY}": "old.example.com",
    "nonsense": "an unknown address",
}


@pytest.mark.parametrize(
    ("address", "host"), ADDRESSES.items(), ids=[a.replace(KEY, "KEY") for a in ADDRESSES]
)
def test_an_answer_goes_elsewhere(address, host):
    """Our path with our secret is ours, whatever proxy stands before it; else the host is named."""
    assert goes_elsewhere(ApprovalReply(CUT, address), Secret(KEY)) == host
    assert KEY not in host


def test_without_a_secret_of_our_own_every_answer_goes_elsewhere():
    """There is nobody at that address who would know it."""
    reply = ApprovalReply(CUT, f"https://old.example.com/notifier/{KEY}")

    assert goes_elsewhere(reply, None) == "old.example.com"


GOOD = {
    "https://trader.example.com": "https://trader.example.com",
    "https://trader.example.com/": "https://trader.example.com",
    "https://trader.example.com:8443/upstox/": "https://trader.example.com:8443/upstox",
    "HTTPS://Trader.Example.com": "HTTPS://Trader.Example.com",
    "https://8.8.8.8": "https://8.8.8.8",
    "https://[2606:4700::1111]:8443/x": "https://[2606:4700::1111]:8443/x",
}


@pytest.mark.parametrize(("url", "base"), GOOD.items(), ids=GOOD)
def test_an_address_of_the_internet_is_taken(url, base):
    """Without its last slash, as the path is put behind it."""
    assert public_base(url, UPSTOX) == base


BAD = [
    *("http://trader.example.com", "ftp://trader.example.com", "trader.example.com", ""),
    *("https://", "https:///path", "https://:8443", "https://localhost", "https://LOCALHOST:3000"),
    *("https://localhost.", "https://127.0.0.1:8000", "https://127.1.2.3", "https://0.0.0.0"),
    *("https://[::1]", "https://[::]", "https://192.168.1.5", "https://10.0.0.5"),
    *("https://trader.example.com?x=1", "https://trader.example.com/#x", "https://t.example/?"),
    *("https://me:s3cret@trader.example.com", "https://s3cret@trader.example.com"),
    *("https://[::1", "https://[s3cret]", "https://trader.example.com:port", "https://a b.example"),
    *("https://trader.example.com\n", " https://trader.example.com", "https://t\u00e9st.example"),
    "https://t.example\\@localhost",
]


@pytest.mark.parametrize("url", BAD, ids=map(repr, BAD))
def test_an_address_that_upstox_cannot_reach_is_refused(url):
    """Said with what to do; a password in it is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        public_base(url, UPSTOX)

    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert "--url https://" in caught.value.advice
    assert "s3cret" not in str(caught.value)


@many
@given(st.text() | st.text().map("https://".__add__))
def test_no_text_raises_anything_else(url):
    """It is an https address without query or account, or a ConfigurationError."""
    try:
        base = public_base(url, UPSTOX)
    except ConfigurationError:
        return
    assert base.lower().startswith("https://")
    assert not set(base) & set("?#@ \\\n")


@pytest.mark.parametrize("url", ["http://localhost:3000", "http://127.0.0.1:8000/", "http://[::1]"])
@pytest.mark.parametrize("api_url", ["http://localhost:8787", "http://127.0.0.1:8787"])
def test_a_simulator_on_this_machine_delivers_to_this_machine(url, api_url):
    """So that the approval can be practised; its tokens open nothing."""
    assert public_base(url, api_url) == url.rstrip("/")
