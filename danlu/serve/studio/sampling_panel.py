"""Which model answers, how its words are drawn, and what it is told beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from danlu.feedback.event import Event
from danlu.feedback.records import Message
from danlu.serve.studio.controls import text_field
from danlu.serve.studio.replies import Sampling
from danlu.serve.studio.visit import Visit
from danlu.serve.studio.voice import Voice


class SamplingPanel:
    """The panel; what it holds goes for the next reply."""

    def __init__(self, visit: Visit) -> None:
        self._visit, studio = visit, visit.studio
        given, limits = studio.voices[0].service.served.sampling, studio.voices[0].service.limits
        with ui.expansion(visit.say("sampling.title"), icon="tune", value=True).classes("dl-panel"):
            names = [voice.name for voice in studio.voices]
            self._model = ui.select(names, value=names[0], label=visit.say("sampling.model"))
            self._model.props("outlined dense options-dense").classes("dl-field")
            self.personas = ui.element("div").classes("dl-line")
            self._system = text_field(visit.say("sampling.system"), lines=2, most=20_000)
            self._temperature = _number(visit.say("sampling.temperature"), given.temperature, 0, 2, 0.1)
            self._top_p = _number("top_p", given.top_p, 0, 1, 0.05)
            self._top_k = _number("top_k", given.top_k, 0, 1_000_000, 1)
            self._most = _number(
                visit.say("sampling.max_tokens"), given.max_new_tokens, 1, limits.new_tokens, 1
            )
            self._seed = _number(visit.say("sampling.seed"), None, 0, 2**31 - 1, 1)
            self._seed.classes(remove="dl-half")
            self._tools = _tools(visit)
            ui.label(visit.say("sampling.about")).classes("dl-quiet dl-small")

    @property
    def voice(self) -> Voice:
        """The model that answers next."""
        return self._visit.studio.voice(str(self._model.value)) or self._visit.studio.voices[0]

    @property
    def system(self) -> str:
        """What a new conversation begins with."""
        return str(self._system.value or "").strip()

    def set_system(self, prompt: str) -> None:
        """Have new conversations begin with this."""
        self._system.set_value(prompt)

    @property
    def sampling(self) -> Sampling:
        """How the next reply is drawn; a field that was emptied goes back to what the server goes by."""
        given = self.voice.service.served.sampling
        return Sampling(
            temperature=_value(self._temperature, given.temperature),
            top_p=_value(self._top_p, given.top_p),
            top_k=round(_value(self._top_k, given.top_k)),
            max_tokens=round(_value(self._most, given.max_new_tokens)),
            seed=None if self._seed.value is None else round(self._seed.value),
            tools=self._chosen_tools(),
        )

    def _chosen_tools(self) -> tuple[str, ...]:
        """Those that the visitor lets the model call, as far as it has them."""
        theirs = tool_names(self.voice)
        return tuple(name for name, box in self._tools.items() if box.value and name in theirs)

    def take(self, branch: Sequence[Event]) -> None:
        """Go on as the last reply of a conversation was drawn; its seed stays its own."""
        system = next((each.body for each in branch if isinstance(each.body, Message)), None)
        if system is not None and system.role == "system":
            self._system.set_value(system.content)
        made = [
            each.body.origin for each in branch if isinstance(each.body, Message) and each.body.origin.name
        ]
        if not made:
            return
        if self._visit.studio.voice(made[-1].name):
            self._model.set_value(made[-1].name)
        drawn = made[-1].sampling
        fields = {
            "temperature": self._temperature,
            "top_p": self._top_p,
            "top_k": self._top_k,
            "max_new_tokens": self._most,
        }
        for name, box in fields.items():
            if isinstance(drawn.get(name), int | float):
                box.set_value(drawn[name])


def tool_names(voice: Voice) -> list[str]:
    """The tools that a model may call here."""
    box = voice.service.served.toolbox
    return [] if box is None else [each["function"]["name"] for each in box.schemas]


def _tools(visit: Visit) -> dict[str, ui.checkbox]:
    """A box to tick for each tool of the server, by name."""
    names = dict.fromkeys(name for voice in visit.studio.voices for name in tool_names(voice))
    if names:
        ui.label(visit.say("sampling.tools")).classes("dl-small dl-line")
    return {name: ui.checkbox(name, value=True).props("dense").classes("dl-tool") for name in names}


def _number(label: str, value: float | None, least: float, most: float, step: float) -> ui.number:
    box = ui.number(label, value=value, min=least, max=most, step=step)
    return box.props("outlined dense").classes("dl-field dl-half")


def _value(box: ui.number, given: float) -> float:
    return given if box.value is None else float(box.value)
