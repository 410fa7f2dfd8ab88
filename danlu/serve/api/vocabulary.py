"""How single tokens are shown: each id has a spelling of its own, and its bytes."""

from __future__ import annotations

from danlu.tokenizer.interface import TextTokenizer

BYTES = "bytes:"


class Vocabulary:
    """Spellings and bytes of all ids.

    A token of whole characters is spelled as itself; any other, and one that could be taken for another, as
    `bytes:\\xe4\\xbd`, which is how OpenAI's API shows half a character. So no two ids are spelled alike, and
    a table by spelling loses none.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        n = tokenizer.vocab_size
        self.control_ids = tokenizer.control_ids
        self._longest = max(len(tokenizer.decode_bytes([i])) for i in range(n))
        self.bytes_of = [tokenizer.decode_bytes([i]) for i in range(n)]
        self.id_of = {raw: i for i, raw in enumerate(self.bytes_of) if i not in tokenizer.control_ids}
        controls = {i: tokenizer.decode([i], show_control=True) for i in tokenizer.control_ids}
        taken = set(controls.values())
        self.spelling = [controls[i] if i in controls else _spell(self.bytes_of[i], taken) for i in range(n)]

    def fewest(self, text: str) -> int:
        """Tokens that a text has at the least, without encoding it."""
        return -(-len(text.encode()) // self._longest)

    def __len__(self) -> int:
        return len(self.spelling)


def _spell(raw: bytes, taken: set[str]) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = BYTES
    if text.startswith(BYTES) or text in taken:
        return BYTES + "".join(f"\\x{byte:02x}" for byte in raw)
    return text
