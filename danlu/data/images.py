"""Pictures in records and requests: PNG files as pixels, looked at before anything is unpacked.

A picture is named by a data URL, which holds the file itself. What a file claims to be is read from its first
bytes, so that nothing is decoded which is too large, is no PNG or moves. Pillow decodes (the extra `images`).
"""

from __future__ import annotations

import base64
import binascii
import importlib
import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.records import DataError

MAX_BYTES = 4 << 20  # of a file
MAX_PIXELS = 1 << 24  # of a picture
MAX_NAME = 200  # characters of a file's name in a record
PREFIX = "data:image/png;base64,"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PAPER = (
    255,
    255,
    255,
)  # what shows through where a picture is transparent, and beside one that is not square
OTHERS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
    (b"<", "SVG or HTML"),
)


class ImageError(DataError):
    """A picture cannot be used; the message says what was found and what would be right."""


def pixels_of(urls: Sequence[str], side: int) -> Tensor:
    """Pictures as a model takes them, (n, side, side, 3) uint8.

    Args:
        urls: data URLs.
        side: pixels along each side. Others are scaled to fit and stand in the middle of white paper.
    """
    pictures = [decode(url, side) for url in urls]
    return torch.from_numpy(np.stack(pictures) if pictures else np.zeros((0, side, side, 3), np.uint8))


def decode(url: str, side: int) -> NDArray[np.uint8]:
    """One picture, (side, side, 3)."""
    (pil, ops), data = _pillow(), unpack(url)
    _check_file(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pil.DecompressionBombWarning)
            with pil.open(BytesIO(data), formats=("PNG",)) as image:
                image.verify()  # to the last chunk: a file that ends early may still show most of its picture
            with pil.open(BytesIO(data), formats=("PNG",)) as image:
                image.load()
                picture = _on_paper(image, pil)
    except BROKEN as error:
        raise ImageError(f"the PNG file is broken or ends too early ({error}); write it again") from None
    if picture.size != (side, side):
        picture = ops.pad(picture, (side, side), pil.Resampling.BOX, color=PAPER)
    return np.asarray(picture)


def unpack(url: str) -> bytes:
    """The file in a data URL."""
    if not url.startswith(PREFIX):
        raise ImageError(
            f"an image is {_shown(url)}; it must be a PNG file as a data URL, {PREFIX}… "
            "(nothing is fetched from elsewhere)"
        )
    if len(url) - len(PREFIX) > -(-MAX_BYTES // 3) * 4:
        raise _too_large(len(url) * 3 // 4)
    try:
        return base64.b64decode(url[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            f"an image's data URL is no base64 ({error}); encode the file's bytes again"
        ) from None


def as_url(path: Path) -> str:
    """The data URL of a file, decoded once for trial."""
    if not path.is_file():
        raise ImageError(f"image {path} is not there; name a PNG file")
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise _too_large(size)
        url = PREFIX + base64.b64encode(path.read_bytes()).decode("ascii")
        decode(url, 1)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    return url


def in_record(url: str, folder: Path) -> str:
    """What a record's image part names, as a data URL, decoded once for trial.

    Args:
        url: a data URL, or the name of a PNG file in the folder or below it.
        folder: where the records' file lies.
    """
    if not url.startswith("data:"):
        named = url.isprintable() and len(url) <= MAX_NAME and "://" not in url
        path = Path(os.path.realpath(folder / url)) if named else None
        if path is None or not path.is_relative_to(folder.resolve()):
            raise ImageError(
                f"an image is {_shown(url)}; it must be a data URL, or a PNG file in the folder of the "
                "records or below it"
            )
        return as_url(path)
    decode(url, 1)
    return url


def _check_file(data: bytes) -> None:
    """Refuse what Pillow should not even begin with, by the header (PNG specification, 11.2.1)."""
    if not data.startswith(SIGNATURE):
        known = next((name for start, name in OTHERS if data.startswith(start)), None)
        found = "empty" if not data else f"{known or 'of an unknown kind'}"
        raise ImageError(f"an image file is {found}; only PNG is read")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise ImageError("the PNG file ends within its header; write it again")
    width, height = struct.unpack(">II", data[16:24])
    if not width or not height:
        raise ImageError(f"an image has {width} × {height} pixels; it must have at least one")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"an image has {width:,} × {height:,} pixels; at most {MAX_PIXELS:,} in all are read; "
            "scale it down"
        )


def _on_paper(image: Any, pil: ModuleType) -> Any:
    """One still picture in eight bits of red, green and blue."""
    if getattr(image, "is_animated", False):
        raise ImageError(f"the PNG file is animated, {image.n_frames} pictures; save one of them")
    if image.mode.startswith("I"):  # sixteen bits of grey, of which converting would keep the lowest
        image = pil.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("RGB", "L", "1") and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = pil.new("RGBA", layer.size, (*PAPER, 255))
    return pil.alpha_composite(paper, layer).convert("RGB")


def _pillow() -> tuple[ModuleType, ModuleType]:
    """Pillow's modules Image and ImageOps."""
    try:
        return importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageOps")
    except ImportError:
        raise ConfigError("pictures need Pillow: pip install 'danlu[images]'") from None


def _too_large(size: int) -> ImageError:
    return ImageError(
        f"an image file has about {size:,} bytes; at most {MAX_BYTES:,} are read, scale it down"
    )


def _shown(url: str) -> str:
    return repr(url if len(url) <= 60 else f"{url[:60]}…")


# What Pillow and zlib raise at broken files; a bomb of text chunks is a ValueError.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error, Warning)
