"""Questions about the world's pictures as an exam asks them, and chats that show how one answers.

They are a category of their own, beside the eleven of `tasks.py`: only a model that sees can be asked, and
what the others are asked stays as it was.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from danlu.world.looking import EXERCISES, Exercise, practise
from danlu.world.names import LANGS, Lang
from danlu.world.pictures import KINDS, Kind, PictureQuestion, ask, picture_questions
from danlu.world.question import Image, Question
from danlu.world.scene import Scene, draw, random_scene
from danlu.world.splits import Split, generator, stable_hash

CATEGORY = "pictures"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
Mix = Mapping[Kind | Exercise, int]
# How often each is asked for learning, in three lessons: what there is, which makes a model see; what has to
# be found by its name; what compares things that were found. Asked all at once, each is noise to the others.
LOOK: Mix = {"everything": 1, "tour": 1}
FIND: Mix = {
    **{"everything": 1, "tour": 1, "places": 4, "matches": 4, "tally": 2},
    **{"plain colour": 1, "plain shape": 1, "plain where": 2, "where": 2},
}
COMPARE: Mix = {
    **{"tour": 1, "places": 1, "matches": 1, "all sides": 4, "tally": 2, "where": 1},
    **{"plain sides": 1, "plain relation": 3, "choice": 2},
    **{"colour": 2, "shape": 1, "count": 3, "relation": 5},
}
NUMBER_WORDS: dict[Lang, Sequence[str]] = {
    "en": ("zero", "one", "two", "three", "four", "five"),
    "zh": ("零", "一", "两", "三", "四", "五"),
}


def seeing_questions(split: Split, n_per_lang: int, seed: int) -> list[Question]:
    """`n_per_lang` questions in each language, kinds in equal parts; the first do not depend on how many."""
    return [question for lang in LANGS for question in _of_language(lang, split, n_per_lang, seed)]


def _of_language(lang: Lang, split: Split, n: int, seed: int) -> list[Question]:
    per_kind = -(-n // len(KINDS))
    drawn = [picture_questions(kind, lang, split, per_kind, seed) for kind in KINDS]
    return [as_exam(question) for row in zip(*drawn, strict=True) for question in row][:n]


def as_exam(asked: PictureQuestion) -> Question:
    """A question about a picture, with the picture before it and what counts as an answer."""
    images: list[Image] = [{"at": 0, "url": data_url(asked.scene)}]
    return Question(
        id=f"{CATEGORY}-{asked.kind}-{asked.id.removeprefix('picture-')}",
        category=CATEGORY,
        lang=asked.lang,
        messages=({"role": "user", "content": asked.prompt, "images": images},),
        gold={"rule": "exact", "replies": [asked.answer], "accept": accepted(asked)},
    )


def kind_of(question_id: str) -> str:
    """What a question of this category is about: a colour, a shape, a count or a relation."""
    return question_id.split("-")[1]


def accepted(asked: PictureQuestion) -> list[str]:
    """Ways to say the answer."""
    bare = asked.answer.rstrip(".。")
    if asked.kind == "count":
        number = bare.removesuffix("个")
        word = NUMBER_WORDS[asked.lang][int(number)]
        return [number, word] if asked.lang == "en" else [number, bare, word, f"{word}个"]
    if asked.kind == "relation" and asked.lang == "zh":
        return [bare, {"在": "是", "不在": "不是"}[bare]]
    return [bare, bare.removeprefix("A ")]


def picture_chats(
    n: int, split: Split, seed: int, *, mix: Mix | None = None, n_turns: int = 1
) -> Iterator[dict[str, Any]]:
    """`n` records for `danlu sft`, a picture each, languages in turn.

    Args:
        n: how many; the first do not depend on it.
        split: to which the questions belong.
        seed: of pictures and questions.
        mix: how often each kind is asked; by default those of the exam alike.
        n_turns: questions about one picture, one where no other can be asked.
    """
    mix = mix or dict.fromkeys(KINDS, 1)
    rng = generator("picture chats", split, seed, *mix.items())
    for number in range(n):
        lang = LANGS[number % len(LANGS)]
        yield _chat(lang, split, rng, mix, n_turns)


def _chat(lang: Lang, split: Split, rng: Random, mix: Mix, n_turns: int) -> dict[str, Any]:
    while True:
        scene = random_scene(rng)
        turns = [each for _ in range(n_turns) if (each := _question(scene, lang, split, rng, mix))]
        if turns:
            return _record(scene, lang, turns)


def _question(scene: Scene, lang: Lang, split: Split, rng: Random, mix: Mix) -> PictureQuestion | None:
    kinds: list[Kind | Exercise] = [*mix]
    (kind,) = rng.choices(kinds, [*mix.values()])
    tried = (_try(scene, kind, lang, split, rng) for _ in range(20))
    return next((found for found in tried if found), None)


def _try(
    scene: Scene, kind: Kind | Exercise, lang: Lang, split: Split, rng: Random
) -> PictureQuestion | None:
    if kind in EXERCISES:
        return practise(scene, kind, lang, rng)
    return ask(scene, cast(Kind, kind), lang, split, rng)


def _record(scene: Scene, lang: Lang, turns: Sequence[PictureQuestion]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        shown = {"type": "image_url", "image_url": {"url": data_url(scene)}}
        said: Any = turn.prompt if number else [shown, {"type": "text", "text": turn.prompt}]
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": turn.answer}]
    number = stable_hash(scene, *(turn.prompt for turn in turns))
    return {
        "id": f"{CATEGORY}-{lang}-{number:016x}",
        "category": CATEGORY,
        "lang": lang,
        "messages": messages,
    }


def data_url(scene: Scene) -> str:
    """The drawing of a scene as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png(draw(scene))).decode('ascii')}"


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture, (height, width, 3), as a PNG file (PNG specification, 5 and 11); no row is filtered."""
    height, width, _ = picture.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # eight bits of red, green and blue
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
