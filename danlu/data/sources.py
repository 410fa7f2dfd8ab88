"""Files to records and documents, one at a time: folders, .txt, .md, .jsonl, .jsonl.gz and .parquet.

Nothing is read whole except one line, and a line has a limit. What cannot be read is an error that says
where, what was found, and what would be right.
"""

from __future__ import annotations

import difflib
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from danlu.data.records import DataError

PROSE = (".txt", ".md")
RECORDS = (".jsonl", ".jsonl.gz", ".parquet")
# Files that describe a folder are no part of what it holds.
NOT_CONTENT = ("readme", "license", "licence", "notice", "changelog")
OTHER_ENCODINGS = ("gb18030", "big5", "shift_jis", "cp1252")
SAMPLE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingConfig:
    field: str = "text"  # which field of a record holds its text
    encoding: str = "utf-8"  # of .txt, .md and .jsonl files; one in which a line ends with the byte 0x0a
    max_line_bytes: int = 64 << 20  # a longer line is an error
    max_document_bytes: int = 1 << 20  # longer .txt and .md files become several documents, cut at line ends


AS_IS = ReadingConfig()


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object or Parquet row, and where it was read."""

    fields: Mapping[str, Any]
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """One text; `about` keeps the other fields of the record it came in."""

    text: str
    source: str = ""
    line: int = 0
    lang: str = ""  # as the record says; empty = it does not say
    about: Mapping[str, Any] = field(default_factory=dict)


def documents(paths: Path | Sequence[Path], config: ReadingConfig = AS_IS) -> Iterator[Document]:
    """Every document of some files and folders, in a stable order; that there is none is an error."""
    document = None
    for path in files(paths, PROSE + RECORDS):
        if _suffix(path) in PROSE:
            stream = _prose(path, config)
        else:
            stream = (_document(record, config.field) for record in read_records(path, config))
        for document in stream:
            yield document
    if document is None:
        raise DataError(f"{_named(paths)}: every file is empty; expected at least one with text in it")


def records(paths: Path | Sequence[Path], config: ReadingConfig = AS_IS) -> Iterator[Record]:
    """Every record of some .jsonl, .jsonl.gz and .parquet files and folders of them; none is an error."""
    record = None
    for path in files(paths, RECORDS):
        for record in read_records(path, config):
            yield record
    if record is None:
        raise DataError(f"{_named(paths)}: every file is empty; expected at least one record")


def files(paths: Path | Sequence[Path], suffixes: Sequence[str] = PROSE + RECORDS) -> list[Path]:
    """The files to read: those named, and those of these kinds in the folders named, sorted."""
    found: list[Path] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        if not path.exists():
            raise DataError(f"{path}: does not exist; expected a file or a folder of {', '.join(suffixes)}")
        found += _in_folder(path, suffixes) if path.is_dir() else [_of_kind(path, suffixes)]
    if not found:
        raise DataError(f"no file to read was named; expected files or folders of {', '.join(suffixes)}")
    return found


def read_records(path: Path, config: ReadingConfig = AS_IS) -> Iterator[Record]:
    """The records of one file."""
    return _parquet(path) if _suffix(path) == ".parquet" else _jsonl(path, config)


def _named(paths: Path | Sequence[Path]) -> str:
    return ", ".join(str(path) for path in ([paths] if isinstance(paths, Path) else paths))


def _in_folder(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    everything = sorted(path for path in folder.rglob("*") if path.is_file())
    visible = [path for path in everything if not any(part.startswith(".") for part in _below(path, folder))]
    found = [
        path
        for path in visible
        if _suffix(path) in suffixes and not path.stem.lower().startswith(NOT_CONTENT)
    ]
    if not found:
        kinds = Counter(path.suffix or path.name for path in visible)
        present = ", ".join(f"{n} × {kind}" for kind, n in kinds.most_common(5)) or "nothing"
        raise DataError(f"{folder}: holds no file to read but {present}; expected {', '.join(suffixes)}")
    return found


def _below(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


def _of_kind(path: Path, suffixes: Sequence[str]) -> Path:
    if _suffix(path) not in suffixes:
        raise DataError(f"{path}: is of a kind that cannot be read here; expected {', '.join(suffixes)}")
    return path


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in PROSE + RECORDS if name.endswith(suffix)), path.suffix)


def _document(record: Record, name: str) -> Document:
    if name not in record.fields:
        raise DataError(f"{record.source}:{record.line}: {missing_field(name, record.fields)}")
    text = record.fields[name]
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n".join(text)
    if not isinstance(text, str):
        raise DataError(
            f"{record.source}:{record.line}: field {name!r} is {shown(text)}; "
            "it must be text or a list of texts"
        )
    about = {key: value for key, value in record.fields.items() if key != name}
    lang = about.get("lang")
    return Document(text, record.source, record.line, lang if isinstance(lang, str) else "", about)


def missing_field(name: str, fields: Iterable[str]) -> str:
    """What a record holds instead of a field, and what was probably meant."""
    present = list(fields)
    close = difflib.get_close_matches(name, present, 1) or [
        key for key in ("text", "content", "body", "raw_content", "document") if key in present
    ]
    hint = f"set field={close[0]!r}" if close else f"each record needs {name!r}"
    return f"has no field {name!r} but {present}; {hint}"


def _prose(path: Path, config: ReadingConfig) -> Iterator[Document]:
    lines: list[str] = []
    first, size = 1, 0
    for number, _, raw in numbered_lines(path, config):
        lines.append(raw)
        size += len(raw)
        if size >= config.max_document_bytes:
            yield Document("".join(lines), str(path), first)
            lines, first, size = [], number + 1, 0
    if any(line.strip() for line in lines):
        yield Document("".join(lines), str(path), first)


def _jsonl(path: Path, config: ReadingConfig) -> Iterator[Record]:
    for number, _, line in numbered_lines(path, config):
        if not line.strip():
            continue
        try:
            fields = json.loads(line.rstrip())
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: {_broken_json(line, error)}") from None
        if not isinstance(fields, dict):
            raise DataError(f"{path}:{number}: holds {shown(fields)}; each line must be one JSON object")
        yield Record(fields, str(path), number)


def _broken_json(line: str, error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        near = line[max(0, error.pos - 30) : error.pos + 30].strip()
        what = f"is not JSON at column {error.colno} ({error.msg}), near {near!r}"
        return f"{what}; each line must be one JSON object"
    return "is JSON nested too deeply to read; each line must be one plain JSON object"


def numbered_lines(path: Path, config: ReadingConfig) -> Iterator[tuple[int, int, str]]:
    """Line number, byte offset and text of each line; never holds more than one line."""
    offset, number = 0, 0
    with _open(path) as file:
        while raw := _read_line(file, path, number + 1, config.max_line_bytes):
            number += 1
            yield number, offset, _decode(raw, path, number, offset, config.encoding)
            offset += len(raw)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _read_line(file: IO[bytes], path: Path, number: int, limit: int) -> bytes:
    try:
        raw = file.readline(limit + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}:{number}: the gzip stream is broken or truncated ({error}); fetch it again"
        ) from None
    if len(raw) > limit:
        raise DataError(
            f"{path}:{number}: the line is longer than {limit} bytes; "
            "cut it into lines, or raise max_line_bytes"
        )
    return raw


def _decode(raw: bytes, path: Path, number: int, offset: int, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except LookupError:
        raise DataError(
            f"{path}: encoding {encoding!r} is unknown; expected one such as 'utf-8' or 'gb18030'"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: {_wrong_bytes(raw, error, offset, encoding)}") from None
    if "\0" in text:
        at = offset + raw.index(b"\0")
        raise DataError(
            f"{path}:{number}: byte {at} is 0x00, so this is a binary file; expected {encoding} text"
        )
    return text.removeprefix("\ufeff") if number == 1 else text


def _wrong_bytes(raw: bytes, error: UnicodeDecodeError, offset: int, encoding: str) -> str:
    at = offset + error.start
    where = f"byte {at} (0x{raw[error.start]:02x}) is not {encoding}"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"{where}; the file begins like utf-16: convert it to UTF-8"
    sample = raw[:SAMPLE_BYTES]
    if b"\0" in sample or sum(byte < 32 and byte not in b"\t\r\n\f" for byte in sample) > len(sample) / 20:
        return f"{where}, and it looks like a binary file; expected {encoding} text"
    likely = _likely_encoding(raw)
    advice = f"it reads well as {likely}: set encoding={likely!r} or convert it" if likely else "convert it"
    return f"{where}; {advice} to UTF-8"


def _likely_encoding(raw: bytes) -> str:
    """The first encoding in which the line is mostly letters and Han of everyday use."""
    for encoding in OTHER_ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        usual = sum(
            char < "\u0250" or "\u3000" <= char <= "\u9fff" or "\uff00" <= char <= "\uffef" for char in text
        )
        if usual >= 0.98 * len(text):
            return encoding
    return ""


def _parquet(path: Path) -> Iterator[Record]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: is no readable Parquet file ({error}); fetch or write it again") from None
    row = 0
    for batch in file.iter_batches(batch_size=1024):
        for fields in batch.to_pylist():
            row += 1
            yield Record(fields, str(path), row)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"{type(value).__name__} {text[:60]}"
