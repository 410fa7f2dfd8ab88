"""What the pages share: the store, the models that can be talked with, and who a visitor is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from danlu.feedback.accounts import Accounts, Person
from danlu.feedback.store import Store
from danlu.serve.api.keys import Caller
from danlu.serve.studio.beside import Beside
from danlu.serve.studio.data_sets import Catalogue
from danlu.serve.studio.microscope import Microscope
from danlu.serve.studio.replies import Replies
from danlu.serve.studio.task_maker import TaskMaker
from danlu.serve.studio.voice import Voice
from danlu.serve.studio.workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """One running studio."""

    store: Store
    voices: list[Voice]  # the pages begin with the first; of those at the start the API serves it
    local: bool = True  # only this machine can reach it
    person: str = "me"  # who visits where nobody signs in and there is no account
    workshop: Workshop | None = None  # where lessons are given; None: the studio knows no folder of runs
    catalogue: Catalogue | None = None  # the data that may be looked at; None: there is none
    microscope: Microscope | None = None  # looks into models; None: nobody does
    replies: Replies = field(init=False)
    tasks: TaskMaker = field(init=False)
    reading: Beside = field(init=False, default_factory=lambda: Beside(2))  # of data
    looking: Beside = field(init=False, default_factory=Beside)  # into models: one at a time
    adopted: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        object.__setattr__(self, "replies", Replies(self.store))
        object.__setattr__(self, "tasks", TaskMaker(self.store))

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.store)

    def visitor(self, secret: str) -> Person | None:
        """Whoever sends this cookie; None must sign in. On one person's own machine nobody does."""
        if self.local:
            people = [each for each in self.accounts.people() if each.active]
            if len(people) < 2:
                return people[0] if people else Person(name=self.person, role="admin")
        known = self.accounts.who(secret) if secret else None
        return None if known is None else known[0]

    @property
    def asks_for_sign_in(self) -> bool:
        """Whether visitors have to say who they are."""
        return self.visitor("") is None

    async def adopt(self, voice: Voice) -> None:
        """Have the pages begin with this model, which runs for as long as the server does."""
        await self.adopted.enter_async_context(voice.service.running())
        self.voices[:] = [voice, *(each for each in self.voices if each.name != voice.name)]

    def voice(self, name: str) -> Voice | None:
        """The model of that name."""
        return next((voice for voice in self.voices if voice.name == name), None)


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The keys that people have made in their accounts, as the API's door asks for them."""

    studio: Studio

    def caller(self, key: str) -> Caller | None:
        """Whose key it is."""
        known = self.studio.accounts.who(key)
        if known is None:
            return None
        person, scopes = known
        return Caller(name=person.name, scopes=frozenset(each for each in scopes if each != "train"))
