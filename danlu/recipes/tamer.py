"""Teaching a model during a chat: `danlu chat MODEL --tamer`.

Grades are appended to a file, and that file is the truth: the head beside it, one step of learning a grade,
says how many of them it has taken in, and whatever is missing is taken in at the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.sharing import model_digest
from danlu.data.chats import Rating, read_grades
from danlu.data.records import DataError
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect.view import spelled
from danlu.model.weights import ModelFileError, check_tensors, read_file, write_tensors
from danlu.recipes.conversation import Conversation
from danlu.recipes.speaker import CUT, Speaker
from danlu.rl.tamer import HeadConfig, RewardHead, credit_weights
from danlu.tokenizer.chat import ChatError

GRADES = range(-2, 3)
THUMBS: Mapping[str, tuple[str, int]] = {"/+": ("up", 1), "/-": ("down", -1)}


class Shaping:
    """A reward head on a speaker's model, and the file of grades that it learns from.

    Args:
        speaker: whose hidden vectors the head reads; it stays as it is.
        feedback: .jsonl of grades, made if missing; the head lies beside it as .safetensors.
        say: receives what there is to tell about what was found there.
    """

    def __init__(
        self, speaker: Speaker, feedback: Path, config: HeadConfig, say: Callable[[str], None]
    ) -> None:
        self.speaker, self.feedback = speaker, feedback
        self.saved = feedback.with_suffix(".safetensors")
        self.head = RewardHead(speaker.model.config.d_model, config)
        self.n_grades = 0
        self._model_sha256 = model_digest(speaker.model)
        self._grades_sha256 = hashlib.sha256()
        feedback.parent.mkdir(parents=True, exist_ok=True)
        found = feedback.exists() and feedback.stat().st_size > 0
        ratings = read_grades(feedback) if found else []
        if self.saved.exists() and not self._take_over(ratings):
            say("(the head's settings or the grades it was learnt from have changed: it is learnt anew)\n")
        if new := ratings[self.n_grades :]:
            for rating in new:
                self._learn(rating, self.hidden(rating))
            self._save()
        if ratings:
            say(f"(grades so far: {len(ratings)}, in {feedback})\n")

    def hidden(self, rating: Rating) -> Tensor:
        """Hidden vectors of the answer's tokens, its end included unless it was cut, (n, d_model)."""
        prompt, answer = self.speaker.chat.prompt(rating.prompt), self.answer_ids(rating)
        answer = answer[: max(0, self.speaker.max_seq_len - len(prompt))]
        if not answer:
            raise DataError(
                f"{rating.where}: nothing of the answer can be given credit: it is empty, or its prompt of "
                f"{len(prompt)} tokens fills the context of {self.speaker.max_seq_len}"
            )
        return self.hidden_of(prompt, [answer])[0]

    def hidden_of(self, prompt_ids: Sequence[int], answers: Sequence[Sequence[int]]) -> list[Tensor]:
        """Hidden vectors of each answer's tokens after the prompt, (n, d_model) each."""
        start, width = len(prompt_ids), max(map(len, answers))
        rows = [[*prompt_ids, *answer, *[0] * (width - len(answer))] for answer in answers]
        with torch.inference_mode():  # nobody attends to the padding, for it stands at the right
            hidden = self.speaker.model.backbone(torch.tensor(rows))
        return [row[start : start + len(answer)] for row, answer in zip(hidden, answers, strict=True)]

    def answer_ids(self, rating: Rating) -> list[int]:
        """The answer's tokens; its end is one of them, unless it was cut before that."""
        chat = self.speaker.chat
        return chat.tokenizer.encode(rating.completion) + [chat.end_id] * (not rating.unfinished)

    def take_in(self, rating: Rating, record: Mapping[str, Any]) -> tuple[float, float]:
        """Keep a record of a grade and learn from it.

        Returns:
            The grade that the head expected for that answer, before and after.
        """
        hidden = self.hidden(rating)
        append_line(self.feedback, json.dumps(record, ensure_ascii=False))
        before = self.head.grade(hidden)
        self._learn(rating, hidden)
        self._save()
        return before, self.head.grade(hidden)

    def _learn(self, rating: Rating, hidden: Tensor) -> None:
        self.head.learn(hidden, rating.grade)
        self._count(rating)

    def _count(self, rating: Rating) -> None:
        """Note that the head knows this grade."""
        known = [rating.prompt, rating.completion, rating.grade, rating.unfinished]
        self._grades_sha256.update(f"{json.dumps(known)}\n".encode())
        self.n_grades += 1

    def _save(self) -> None:
        tensors = {"weight": self.head.weight, "covariance": self.head.covariance}
        write_tensors(self.saved, tensors, **self._header())

    def _header(self) -> dict[str, str]:
        """What the head belongs to; a saved one is of use only where all of it is the same."""
        return {
            "model_sha256": self._model_sha256,
            "settings": json.dumps(asdict(self.head.config), sort_keys=True),
            "n_grades": str(self.n_grades),
            "grades_sha256": self._grades_sha256.hexdigest(),
        }

    def _take_over(self, ratings: Sequence[Rating]) -> bool:
        """Go on with the saved head; False, and a fresh head, where it was learnt from other grades."""
        tensors, header = self._read()
        n_grades = int(header["n_grades"])
        for rating in ratings[:n_grades]:
            self._count(rating)
        if self._header() != header:
            self.n_grades, self._grades_sha256 = 0, hashlib.sha256()
            return False
        self.head.weight, self.head.covariance = tensors["weight"].double(), tensors["covariance"].double()
        return True

    def _read(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The saved head and what it belongs to; that of another model, or a broken one, is an error."""
        size = self.speaker.model.config.d_model
        shapes = {"weight": torch.Size((size,)), "covariance": torch.Size((size, size))}
        try:
            tensors, header = read_file(self.saved)
            if header.get("model_sha256", self._model_sha256) != self._model_sha256:
                raise ModelFileError(f"{self.saved} is the head of another model; name another feedback file")
            check_tensors(self.saved, tensors, shapes, "model")
            kept = {key: header[key] for key in self._header() if key in header}
            sound = all(bool(tensor.isfinite().all()) for tensor in tensors.values())
            if kept.keys() != self._header().keys() or not kept["n_grades"].isdecimal() or not sound:
                raise ModelFileError(
                    f"{self.saved} is no sound head of this version; put a copy of one there"
                )
        except ModelFileError as error:
            raise ModelFileError(
                f"{error}, or remove the file: the head is then learnt again from {self.feedback}"
            ) from error
        return tensors, kept


class Pupil(Conversation):
    """A conversation whose answers are graded, and follow the grades.

    Args:
        shaping: the speaker's head and its grades.
        n_candidates: answers drawn once there are grades, of which the best by the head is given.
        system: as for any conversation; `sampling` and `say` likewise.
    """

    help = "/+ and /- judge the last answer, so does /grade -2…2; /why shows the head; " + Conversation.help

    def __init__(
        self,
        shaping: Shaping,
        n_candidates: int,
        system: str,
        sampling: SamplingConfig,
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(shaping.speaker, system, sampling, say)
        self.shaping, self._n_candidates = shaping, n_candidates
        # Of the last answer, the model's own first, with the grade expected then; none if nothing was chosen.
        self._candidates: list[tuple[str, float]] = []

    def speak(self, prompt_ids: Sequence[int]) -> Generator[str, None, Completion | None]:
        """The answer that the head likes best of several; until it has learnt anything, the model's own."""
        self._candidates = []
        if not self.shaping.n_grades:
            return (yield from super().speak(prompt_ids))
        candidates = self.draw(prompt_ids)
        hidden = self.shaping.hidden_of(prompt_ids, [candidate.ids for candidate in candidates])
        grades = [self.shaping.head.grade(each) for each in hidden]
        texts = [self.speaker.chat.parse(candidate.ids)["content"] for candidate in candidates]
        self._candidates = list(zip(texts, grades, strict=True))
        place = grades.index(max(grades))  # of equals the first
        best = candidates[place]
        yield texts[place]
        if best.finish_reason == "length":
            yield CUT
        return best

    def draw(self, prompt_ids: Sequence[int]) -> list[Completion]:
        """Several answers to the prompt; the first is what the model would say without a head."""
        chat, key = self.speaker.chat, self.n_answers
        sampler = Sampler(
            self.speaker.model,
            stop_ids=chat.stop_ids,
            forbidden_ids=chat.tokenizer.control_ids - chat.stop_ids,
            max_batch=self._n_candidates,
        )
        others = [f"{key}/{number}" for number in range(1, self._n_candidates)]
        waiting = [sampler.add(prompt_ids, self.sampling, name) for name in (key, *others)]
        while sampler.n_unfinished:
            sampler.step()
        return [done for number in waiting if (done := sampler.take(number)) is not None]

    def obey(self, command: str, argument: str = "") -> None:
        if command in THUMBS:
            thumb, grade = THUMBS[command]
            self._judge(grade, {"thumb": thumb}, argument)
        elif command == "/grade":
            number, _, comment = argument.partition(" ")
            grade = parse_grade(number)
            self._judge(grade, {"grade": grade}, comment)
        elif command == "/why":
            self.say(explain(self.shaping, self._last_answer(0), self._candidates))
        elif command == "/image":
            raise ChatError("thumbs teach about texts only; for pictures, chat without tamer")
        else:
            super().obey(command, argument)

    def _judge(self, grade: int, verdict: Mapping[str, Any], comment: str) -> None:
        rating = self._last_answer(grade)
        record: dict[str, Any] = {"messages": self.dialogue, **verdict}
        if rating.unfinished:
            record["unfinished"] = True
        if comment.strip():
            record["comment"] = comment.strip()
        before, after = self.shaping.take_in(rating, record)
        self.say(
            f"(noted: {grade:+d}. For this answer the head expected {before:+.2f}, now {after:+.2f}; "
            f"grades so far: {self.shaping.n_grades})\n"
        )

    def _last_answer(self, grade: int) -> Rating:
        if not self.messages:
            raise ChatError("there is no answer yet; ask something first")
        *prompt, answer = self.dialogue
        return Rating(prompt=prompt, completion=answer["content"], grade=grade, unfinished=self.unfinished)


def parse_grade(text: str) -> int:
    """A whole number from -2 to 2, as somebody types it."""
    grades = {form.format(grade): grade for grade in GRADES for form in ("{}", "{:+d}")}
    if text not in grades:
        raise ChatError(f"the grade is {text!r}; it must be -2, -1, 0, 1 or 2")
    return grades[text]


def explain(shaping: Shaping, rating: Rating, candidates: Sequence[tuple[str, float]]) -> str:
    """The answers that there were to choose from, and every token of the one that was given.

    Args:
        shaping: whose head is asked.
        rating: the answer; its grade does not matter.
        candidates: texts and grades expected when one was chosen, the model's own first; may be none.
    """
    hidden, tokenizer = shaping.hidden(rating), shaping.speaker.chat.tokenizer
    different = dict(reversed(candidates))
    lines = [f"({len(candidates)} candidates, {len(different)} different)"] if candidates else []
    for text, grade in sorted(different.items(), key=lambda each: -each[1]):
        lines.append(f"{grade:+6.2f}  {text}{'  (the model alone)' * (text == candidates[0][0])}")
    lines.append(f"(expected for this answer by now: {shaping.head.grade(hidden):+.2f})")
    lines.append("reward  credit  token")
    shares = credit_weights(len(hidden), shaping.head.config).tolist()
    columns = zip(shaping.answer_ids(rating), shaping.head.score(hidden).tolist(), shares, strict=False)
    for token, reward, share in columns:
        lines.append(f"{reward:+6.2f}  {share:6.1%}  {spelled(token, tokenizer)}")
    return "\n".join(lines) + "\n"


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, on the disk before this returns; a last line without an end gets one first."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
