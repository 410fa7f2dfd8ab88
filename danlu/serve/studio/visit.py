"""One visitor on one page: who it is, in which language, and what they may do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from nicegui import ui
from starlette.exceptions import HTTPException

from danlu.feedback.accounts import Person, Scope
from danlu.feedback.errors import FeedbackError, FullDiskError, WithdrawnTaskError
from danlu.serve.studio.faults import in_language
from danlu.serve.studio.phrases import LANGUAGES, Language, phrase
from danlu.serve.studio.studio import Studio
from danlu.tokenizer.chat import ChatError

logger = logging.getLogger(__name__)
T = TypeVar("T")
P = ParamSpec("P")
SESSION, LANGUAGE, THEME = "danlu_session", "danlu_language", "danlu_theme"  # cookies


class NotAllowedError(PermissionError):
    """The visitor may not do this, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One opened page."""

    studio: Studio
    person: Person
    secret: str  # the cookie by which it was opened
    language: Language
    dark: bool | None  # None = as the system has it
    query: Mapping[str, str]  # of the address

    def say(self, key: str, **values: object) -> str:
        """A phrase of the pages in the visitor's language."""
        return phrase(self.language, key, **values)

    def translate(self, fault: str) -> str:
        """What the store, the chat format or the API has refused, in the visitor's language."""
        return in_language(self.language, fault)

    def may(self, scope: Scope) -> bool:
        """Whether the visitor's role opened this when the page was."""
        return scope in self.person.scopes

    async def act(self, scope: Scope, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of the store beside the event loop, if the visitor still may.

        Raises:
            NotAllowedError: the account was closed, changed its role, or signed out meanwhile.
        """

        def checked() -> T:
            self.check(scope)
            return function(*args, **kwargs)

        return await asyncio.to_thread(checked)

    def check(self, scope: Scope) -> None:
        """Refuse what the visitor may not do now, whatever they might when the page was opened."""
        person = self.studio.visitor(self.secret)
        if person is None or person.name != self.person.name:
            raise NotAllowedError(self.say("refused.signed_out"))
        if scope not in person.scopes:
            raise NotAllowedError(self.say("refused.role", role=self.say(f"role.{person.role}")))


def language_of(cookie: str, accepted: str) -> Language:
    """What the visitor chose, else what the browser prefers of what there is."""
    for wanted in (cookie, *(each.partition(";")[0].strip()[:2].lower() for each in accepted.split(","))):
        for language in LANGUAGES:
            if wanted == language:
                return language
    return "en"


def told(
    function: Callable[Concatenate[Visit, P], Awaitable[None]],
) -> Callable[Concatenate[Visit, P], Awaitable[None]]:
    """An action of a page whose refusal is shown to the visitor, and changes nothing."""

    @wraps(function)
    async def act(visit: Visit, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await function(visit, *args, **kwargs)
        except (FeedbackError, ChatError, NotAllowedError, HTTPException) as error:
            refuse(reason(visit, error))

    return act


def reason(visit: Visit, error: Exception) -> str:
    """What an error says to the visitor, in their language."""
    for kind, key in IN_PHRASES.items():
        if isinstance(error, kind):
            return visit.say(key)
    return visit.translate(str(error.detail) if isinstance(error, HTTPException) else str(error))


def refuse(text: str) -> None:
    """Show why something was not done."""
    ui.notify(text, type="negative", multi_line=True, close_button=True, timeout=10_000)


IN_PHRASES: Mapping[type[Exception], str] = {
    FullDiskError: "refused.full_disk",
    WithdrawnTaskError: "refused.withdrawn",
}
