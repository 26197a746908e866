"""Thousands of made-up `.env` files: built from known pieces, so that no parser judges itself."""

from io import StringIO

import dotenv
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker_tokens.env_text import EnvText
from broker_tokens.errors import StoreError

KEYS = ("access_token", "UPSTOX_REFRESH_TOKEN")
UPDATES = {"access_token": "new-access.1", "UPSTOX_REFRESH_TOKEN": "new-refresh.2"}

line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
indents = st.sampled_from([b"", b" ", b"\t", b"  "])
comments = st.sampled_from([b"", b" # note", b"\t#x='", b"  "])
old_values = st.sampled_from(
    [b"", b"old", b"'o # p'", b'"o \\" p"', b"o#p", b"a=b=", b"${A}", b"\xfc\xff", b"\xe2\x82\xb9"]
)
foreign_lines = st.sampled_from(
    [
        b"",
        b"   ",
        b"# a comment with access_token=x and ' in it",
        b"A=1",
        b"export B='two words' # b",
        b'C="\\"quoted\\""',
        b"D=C:\\dir",
        b"E",
        b"F==",
        b"my_access_token=keep",
        b"G='many\naccess_token_=keep\nlines'",
        b"latin=\xfc\xe9",
        "₹=₹".encode(),
        b"not a setting",
    ]
)


@st.composite
def own_lines(draw):
    """Draw one of our lines as the two pieces around its value, and that value."""
    key = draw(st.sampled_from(KEYS))
    export = draw(st.sampled_from([b"", b"export ", b"export \t"]))
    equals = draw(st.sampled_from([b"=", b" = ", b"= ", b" ="]))
    value = draw(old_values)
    if not value:
        equals = b"="  # blanks after an empty value belong to what follows it
    head = draw(indents) + export + key.encode() + equals
    return key, head, value, draw(comments) if value or equals == b"=" else b""


@st.composite
def known_files(draw):
    """Draw a file and what it must become; every line has a line end, every quote an end."""
    before = after = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    seen = set()
    for line in draw(st.lists(st.one_of(foreign_lines, own_lines()), max_size=8)):
        line_end = draw(line_ends)
        if isinstance(line, bytes):
            before, after = before + line + line_end, after + line + line_end
            continue
        key, head, value, tail = line
        seen.add(key)
        before += head + value + tail + line_end
        after += head + UPDATES[key].encode() + tail + line_end
    return before, after, [key for key in KEYS if key not in seen]


@given(known_files())
@settings(max_examples=400, deadline=None)
def test_every_byte_but_our_values_is_kept(file):
    """The new file is the old one with other values in our lines, and our new lines at its end."""
    before, after, missing = file
    text = EnvText(before).with_values(UPDATES)

    assert text.startswith(after)
    new_lines = text[len(after) :].split()
    assert new_lines == [f"{key}={UPDATES[key]}".encode() for key in missing]
    assert _dotenv(text).items() >= UPDATES.items()


scraps = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(b"'", b'"', b"\n", b"\r", b"\r\n", b"=", b"#", b" ", b"\\", b"export ", b"$"),
                *(b"access_token", b"access_token=old\n", b"UPSTOX_REFRESH_TOKEN='x'"),
                *(b"A=1", b"B='two'", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff"),
                b"\xef\xbb\xbf",
            ]
        ),
        st.binary(max_size=4).filter(lambda b: b"\0" not in b and b[:2] not in (b"\xff\xfe",)),
    ),
    max_size=16,
).map(b"".join)


@given(scraps)
@example(b"A='\naccess_token=old\nB='x'")
@example(b"access_token='\nA=1\nB='\n")
@settings(max_examples=600, deadline=None)
def test_any_scrap_is_refused_or_read_back(before):
    """Of whatever bytes, either nothing is written or all readers of other keys see no change."""
    try:
        text = EnvText(before).with_values(UPDATES)
    except StoreError:
        return
    old, new = _dotenv(before), _dotenv(text)

    assert new == {**old, **UPDATES}
    assert _foreign_lines(text) == _foreign_lines(before)


def _foreign_lines(content):
    """Return the lines that do not name our keys; blank ones may be put before new lines."""
    lines = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n").split(b"\n")
    return [line for line in lines if line.strip() and not any(k.encode() in line for k in KEYS)]


def _dotenv(content):
    stream = StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    return dotenv.dotenv_values(stream=stream, interpolate=False)
