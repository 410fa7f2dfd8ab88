"""PNG files become the pixels that they show, and what is none is refused before it is unpacked."""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib

import numpy as np
import pytest
import torch

from danlu.config import ConfigError
from danlu.data import images
from danlu.data.chats import read_chats, read_comparisons
from danlu.data.images import ImageError, as_url, decode, in_record, pixels_of
from danlu.data.records import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def file(rows: list[bytes], width: int, depth: int = 8, colour: int = 2, before: bytes = b"") -> bytes:
    """A PNG file of rows as they lie in it; colours: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return SIGNATURE + chunk(b"IHDR", header) + before + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


TWO = file([bytes(RED + GREEN), bytes(WHITE + RED)], 2)  # two rows of two pixels


def test_pixels_are_those_of_the_file():
    assert decode(url(TWO), 2).tolist() == [[[*RED], [*GREEN]], [[*WHITE], [*RED]]]
    both = pixels_of([url(TWO), url(TWO)], 2)
    assert both.shape == (2, 2, 2, 3)
    assert both.dtype == torch.uint8
    assert pixels_of([], 2).shape == (0, 2, 2, 3)


def test_other_sizes_are_scaled_to_fit_the_middle_of_white_paper():
    assert decode(url(TWO), 4)[::2, ::2].tolist() == [[[*RED], [*GREEN]], [[*WHITE], [*RED]]]
    wide = file([bytes(RED * 4)] * 2, 4)  # twice as wide as high
    assert decode(url(wide), 4).tolist() == [[[*WHITE]] * 4, [[*RED]] * 4, [[*RED]] * 4, [[*WHITE]] * 4]
    mixed = file([bytes(RED + WHITE), bytes(WHITE + RED)], 2)
    assert decode(url(mixed), 1).tolist() == [[[255, 128, 128]]]  # the mean of its pixels


@pytest.mark.parametrize(
    ("data", "pixel"),
    [
        (file([bytes([7])], 1, colour=0), (7, 7, 7)),
        (file([b"\x80"], 1, depth=1, colour=0), WHITE),
        (file([struct.pack(">H", 0x80FF)], 1, depth=16, colour=0), (128, 128, 128)),
        (file([struct.pack(">HHH", 0x80FF, 0, 0xFFFF)], 1, depth=16), (128, 0, 255)),
        (file([b"\x01"], 1, colour=3, before=chunk(b"PLTE", bytes(RED + GREEN))), GREEN),
        (
            file([b"\0"], 1, colour=3, before=chunk(b"PLTE", bytes(RED)) + chunk(b"tRNS", b"\0")),
            WHITE,
        ),
        (file([bytes([0, 0])], 1, colour=4), WHITE),  # black that nobody sees
        (file([bytes([0, 0, 0, 51])], 1, colour=6), (204, 204, 204)),  # a fifth of black on white
        (file([bytes(RED)], 1, before=chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0))), WHITE),
    ],
    ids=["grey", "one bit", "16 bits grey", "16 bits", "palette", "clear palette", "LA", "RGBA", "key"],
)
def test_every_kind_of_png_becomes_eight_bits_of_red_green_and_blue(data, pixel):
    assert decode(url(data), 1).tolist() == [[[*pixel]]]


def header_only(width: int, height: int) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + b"\0" * 12


ANIMATED = file(
    [bytes(RED)],
    1,
    before=chunk(b"acTL", struct.pack(">II", 2, 0))
    + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 1, 0, 0)),
)
ANIMATED = ANIMATED[:-12] + (
    chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 1, 1, 0, 0, 1, 1, 0, 0))
    + chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(b"\0" + bytes(GREEN)))
    + chunk(b"IEND", b"")
)
BOMB_OF_TEXT = file([bytes(RED)], 1, before=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (70 << 20))))
BAD = {
    "empty": (b"", "an image file is empty; only PNG is read"),
    "jpeg": (b"\xff\xd8\xff\xe0 and so on", "an image file is JPEG; only PNG is read"),
    "gif": (b"GIF89a", "an image file is GIF; only PNG is read"),
    "text": (b"hello", "an image file is of an unknown kind; only PNG is read"),
    "header": (TWO[:20], "ends within its header"),
    "zero": (header_only(0, 5), "an image has 0 × 5 pixels; it must have at least one"),
    "bomb": (header_only(60_000, 60_000), "60,000 × 60,000 pixels; at most 16,777,216 in all are read"),
    "just too large": (header_only(4097, 4096), "an image has 4,097 × 4,096 pixels"),
    "no data": (header_only(5, 5), "broken or ends too early"),
    "no end": (TWO[:-12], "broken or ends too early"),
    "half": (TWO[: len(TWO) - 20], "broken or ends too early"),
    "wrong sum": (TWO[:-20] + b"\0" + TWO[-19:], "broken or ends too early"),
    "wrong depth": (file([bytes(RED)], 1, depth=3), "broken or ends too early"),
    "bomb of text": (BOMB_OF_TEXT, "broken or ends too early"),
    "animated": (ANIMATED, "the PNG file is animated, 2 pictures; save one of them"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused(name):
    data, message = BAD[name]
    with pytest.raises(ImageError, match=message):
        decode(url(data), 8)


@pytest.mark.parametrize("cut", range(0, len(TWO) - 8, 3))  # the last chunk is twelve bytes
def test_a_file_that_ends_anywhere_is_refused(cut):
    with pytest.raises(ImageError):
        decode(url(TWO[:cut]), 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://example.com/a.png", "nothing is fetched from elsewhere"),
        ("file:///etc/passwd", "nothing is fetched from elsewhere"),
        ("data:image/jpeg;base64,aaaa", "it must be a PNG file as a data URL"),
        ("data:image/png;base64,a$", "no base64"),
        ("data:image/png;base64,é", "no base64"),
        ("data:image/png;base64," + "A" * (6 << 20), "has about 4,718,6.. bytes; at most 4,194,304"),
    ],
)
def test_a_url_that_is_no_picture_is_refused(given, message):
    with pytest.raises(ImageError, match=message):
        decode(given, 8)


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ConfigError, match=r"pip install 'danlu\[images\]'"):
        decode(url(TWO), 2)


def test_a_record_names_files_beside_it_and_nothing_else(tmp_path):
    folder = tmp_path / "set"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "two.png").write_bytes(TWO)
    (tmp_path / "secret.png").write_bytes(TWO)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert in_record("pictures/two.png", folder) == url(TWO) == as_url(folder / "pictures" / "two.png")
    assert in_record(url(TWO), folder) == url(TWO)
    outside = (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "http://a/b.png",
        "a\0.png",
        "a" * 300,
    )
    for name in outside:
        with pytest.raises(ImageError, match="or a PNG file in the folder of the records or below it"):
            in_record(name, folder)
    with pytest.raises(ImageError, match=r"none\.png is not there"):
        in_record("none.png", folder)
    with pytest.raises(ImageError, match="is not there"):
        in_record("pictures", folder)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(TWO)
    monkeypatch.setattr(images, "MAX_BYTES", len(TWO) - 1)
    with pytest.raises(ImageError, match=f"about {len(TWO)} bytes; at most {len(TWO) - 1}"):
        as_url(tmp_path / "a.png")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named(name, tmp_path):
    (tmp_path / "bad.png").write_bytes(BAD[name][0])
    with pytest.raises(ImageError, match=rf"bad\.png: .*{BAD[name][1]}"):
        as_url(tmp_path / "bad.png")


def part(link: object) -> dict:
    return {"type": "image_url", "image_url": {"url": link}}


def chats(tmp_path, content, **more):
    record = {
        "messages": [{"role": "user", "content": content, **more}, {"role": "assistant", "content": "Red."}]
    }
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return path


def test_chats_keep_each_picture_in_its_place(tmp_path):
    (tmp_path / "two.png").write_bytes(TWO)
    text = {"type": "text", "text": "这是"}
    path = chats(tmp_path, [part("two.png"), text, part(url(TWO)), {"type": "text", "text": "?"}])
    (chat,) = read_chats(path, images=True)
    assert chat.messages[0]["content"] == "这是?"
    assert chat.messages[0]["images"] == [{"at": 0, "url": url(TWO)}, {"at": 2, "url": url(TWO)}]
    with pytest.raises(
        DataError, match=r"chats\.jsonl:1: turn 1 holds a picture, and only text is read here"
    ):
        read_chats(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([part("none.png")], "none.png is not there; name a PNG file"),
        ([part(url(TWO[:40]))], "the PNG file is broken or ends too early"),
        ([part(5)], "'image_url' must be an object with 'url', a text"),
        ([{"type": "image_url", "image_url": {"url": "a", "size": 3}}], "must be an object with 'url'"),
        ([{"type": "input_audio"}], "parts must be of type 'text'"),
    ],
)
def test_a_broken_picture_is_an_error_with_its_file_and_its_line(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"chats\.jsonl:1: .*{message}"):
        read_chats(chats(tmp_path, content), images=True)


def test_only_the_user_shows_pictures(tmp_path):
    path = tmp_path / "chats.jsonl"
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [part(url(TWO))]}]
    path.write_text(json.dumps({"messages": said}))
    with pytest.raises(DataError, match="turn 2: 'images' must be a list, in a turn of the user"):
        read_chats(path, images=True)


def test_comparisons_refuse_pictures(tmp_path):
    path = tmp_path / "comparisons.jsonl"
    prompt = [{"role": "user", "content": [part(url(TWO))]}]
    path.write_text(json.dumps({"prompt": prompt, "completions": ["a", "b"], "ranks": [1, 2]}))
    with pytest.raises(DataError, match="holds a picture, and only text is read here"):
        read_comparisons(path)


def test_the_result_can_be_written_to(recwarn):
    picture = decode(url(TWO), 2)
    assert picture.dtype == np.uint8
    pixels_of([url(TWO)], 2)[0, 0, 0, 0] = 3
    assert not recwarn
