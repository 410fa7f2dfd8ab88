"""Putting answers in order, step by step, with ties; each step can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ordering:
    """Answers 0 to n-1 in tiers, the best first; those in no tier are still to be placed."""

    n: int
    tiers: list[list[int]] = field(default_factory=list[list[int]])
    ties: bool = False  # the next answer joins the last tier
    _past: list[tuple[list[list[int]], bool]] = field(default_factory=list[tuple[list[list[int]], bool]])

    @property
    def unplaced(self) -> list[int]:
        """What has no tier yet."""
        placed = {each for tier in self.tiers for each in tier}
        return [each for each in range(self.n) if each not in placed]

    def place(self, answer: int) -> None:
        """Put an answer below all others, or beside the last where a tie was announced."""
        if not 0 <= answer < self.n:
            return
        self._remember()
        self._take_out(answer)
        if self.ties and self.tiers:
            self.tiers[-1].append(answer)
        else:
            self.tiers.append([answer])
        self.ties = False

    def tie(self) -> None:
        """Announce that the next answer is as good as the last; said twice, it is taken back."""
        if self.tiers:
            self._remember()
            self.ties = not self.ties

    def move(self, answer: int, tier: int | None) -> None:
        """Put an answer into a tier; one beyond the last is new, and None takes the answer out."""
        self._remember()
        target = None if tier is None or tier >= len(self.tiers) else self.tiers[tier]
        self._take_out(answer)
        if target is not None and any(each is target for each in self.tiers):
            target.append(answer)
        elif tier is not None:
            self.tiers.insert(min(tier, len(self.tiers)), [answer])

    def undo(self) -> bool:
        """Take the last step back; False if there was none."""
        if not self._past:
            return False
        self.tiers, self.ties = self._past.pop()
        return True

    def ranks(self) -> list[int] | None:
        """The rank of each answer, 1 being best; a single one left is the worst. None: more are left."""
        left = self.unplaced
        if len(left) > 1 or self.n < 2:
            return None
        # A tie that was announced joins the one that is left to the last tier.
        tiers = [*self.tiers]
        if left and self.ties and tiers:
            tiers[-1] = [*tiers[-1], *left]
        elif left:
            tiers.append(left)
        of = {each: rank for rank, tier in enumerate(tiers, 1) for each in tier}
        return [of[each] for each in range(self.n)]

    @classmethod
    def of_ranks(cls, ranks: Sequence[int]) -> Ordering:
        """The ordering that has these ranks."""
        tiers = [[i for i, each in enumerate(ranks) if each == rank] for rank in sorted(set(ranks))]
        return cls(len(ranks), tiers)

    def _take_out(self, answer: int) -> None:
        for tier in self.tiers:
            if answer in tier:
                tier.remove(answer)
        self.tiers[:] = [tier for tier in self.tiers if tier]

    def _remember(self) -> None:
        self._past.append(([[*tier] for tier in self.tiers], self.ties))
