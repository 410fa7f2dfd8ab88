"""Files to text: plain text, Markdown, HTML, CSV, Word and PDF, within caps, running nothing."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from danlu.config import ConfigError
from danlu.tools.error import ToolError
from danlu.tools.visible import one_line, whole_unicode

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
UNSEEN_TAGS = {"script", "style", "template", "noscript", "title", "svg"}
_BLOCK_TAGS = """
p div li tr br h1 h2 h3 h4 h5 h6 section article table ul ol pre blockquote
"""
BLOCK_TAGS = frozenset(_BLOCK_TAGS.split())


class DocumentError(ToolError):
    """A file cannot be read as a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    file_bytes: int = 32 * 2**20  # larger files are left out, and named
    text_characters: int = 8_000_000  # of one document, unpacked
    pages: int = 5000  # of a PDF

    def __post_init__(self) -> None:
        for name in ("file_bytes", "text_characters", "pages"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")


def documents(folder: Path) -> Iterator[Path]:
    """Files of the known kinds below a folder, in order; neither hidden ones nor links that lead out."""
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if (
            path.suffix.lower() in READERS
            and not hidden
            and path.is_file()  # links in a circle are none
            and path.resolve().is_relative_to(root)
        ):
            yield path


def read_document(path: Path, limits: ReadingLimits) -> str:
    """The text of a file; one that is empty, too large, encrypted or damaged is an error that says so."""
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise DocumentError(f"has {size / 2**20:,.0f} MiB; at most {limits.file_bytes / 2**20:,.0f} are read")
    if size == 0:
        raise DocumentError("is empty")
    text = whole_unicode(READERS[path.suffix.lower()](path.read_bytes(), limits))
    if len(text) > limits.text_characters:
        raise DocumentError(f"holds {len(text):,} characters; at most {limits.text_characters:,} are read")
    if not text.strip():
        raise DocumentError("holds no text")
    return text


def _plain(raw: bytes, limits: ReadingLimits) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(raw, "utf-16")
    if b"\0" in raw:
        raise DocumentError("is no text: it holds zero bytes")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return _decoded(raw, "gb18030").replace("\r\n", "\n")


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise DocumentError("is neither UTF-8, UTF-16 nor GB18030 text") from None


class _Text(HTMLParser):
    """The text of a page that a reader would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._unseen and tag in UNSEEN_TAGS:
            self._unseen = tag
        if tag in BLOCK_TAGS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        if tag in BLOCK_TAGS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.pieces.append(data)


def _html(raw: bytes, limits: ReadingLimits) -> str:
    reader = _Text()
    reader.feed(_plain(raw, limits))
    reader.close()
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in "".join(reader.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _csv(raw: bytes, limits: ReadingLimits) -> str:
    """A row a line, each value with the name of its column."""
    try:
        rows = list(csv.reader(io.StringIO(_plain(raw, limits)), strict=True))
    except csv.Error as error:
        raise DocumentError(f"is no CSV: {error}") from None
    names, *rest = rows or [[]]
    lines = [
        "; ".join(f"{name}: {value}" for name, value in zip(names, row, strict=False) if value)
        for row in rest
    ]
    return "\n\n".join(" ".join(line.split()) for line in lines)


def _docx(raw: bytes, limits: ReadingLimits) -> str:
    """The paragraphs of a Word document: XML in a zip."""
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise DocumentError("is encrypted, or in the old format .doc; save it as a plain .docx")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive, archive.open("word/document.xml") as file:
            content = file.read(4 * limits.text_characters + 1)
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, OSError, EOFError):
        raise DocumentError("is no readable .docx") from None
    if len(content) > 4 * limits.text_characters:
        raise DocumentError("unpacks to more than is read of one document")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise DocumentError("declares entities, which no .docx does")
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        raise DocumentError("is no readable .docx") from None
    return "\n\n".join(
        "".join(_run(each) for each in paragraph.iter()) for paragraph in tree.iter(f"{WORD}p")
    )


def _run(element: ElementTree.Element) -> str:
    if element.tag == f"{WORD}t":
        return element.text or ""
    return "\t" if element.tag == f"{WORD}tab" else "\n" if element.tag == f"{WORD}br" else ""


def _pdf(raw: bytes, limits: ReadingLimits) -> str:
    if not raw.lstrip()[:5] == b"%PDF-":
        raise DocumentError("is no PDF")
    try:
        from pypdf import PdfReader  # pyright: ignore[reportMissingImports]
        from pypdf.errors import DependencyError, PyPdfError  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DocumentError("needs pypdf to be read: pip install 'danlu[index]'") from None
    try:
        reader = PdfReader(io.BytesIO(raw))
        # Some are encrypted only against changes: their readers' password is empty.
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("is encrypted; save it without a password")
        return "\f".join(page.extract_text() for page in reader.pages[: limits.pages])
    except DocumentError:
        raise
    except DependencyError:
        raise DocumentError("is encrypted; save it without a password") from None
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        raise DocumentError(f"is a damaged PDF: {one_line(str(error))}") from None


READERS: dict[str, Callable[[bytes, ReadingLimits], str]] = {
    ".txt": _plain,
    ".md": _plain,
    ".html": _html,
    ".htm": _html,
    ".csv": _csv,
    ".docx": _docx,
    ".pdf": _pdf,
}
