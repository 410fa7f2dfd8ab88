"""Buttons and fields as every page uses them: labelled for whoever cannot see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from nicegui import events, ui

from danlu.serve.studio.rich_text import plain, rich
from danlu.serve.studio.visit import Visit, refuse

FILE_BYTES = 20_000_000  # of a file that a visitor sends
Act = Callable[[], Awaitable[None] | None]


def icon_button(label: str, icon: str, act: Act) -> ui.button:
    """A button that shows a picture and says what it does."""
    button = (
        ui.button(icon=icon, on_click=lambda: act(), color=None)
        .props("flat dense round size=sm")
        .classes("dl-icon")
    )
    button.props["aria-label"] = button.props["title"] = label
    return button


def action(label: str, act: Act, *, icon: str = "", main: bool = False) -> ui.button:
    """A button with words."""
    button = ui.button(label, icon=icon or None, on_click=lambda: act(), color=None)
    return button.props("no-caps unelevated" if main else "no-caps outline").classes(
        "dl-main" if main else "dl-second"
    )


def text_field(
    label: str, value: str = "", *, lines: int = 1, grows: bool = False, most: int = 100_000
) -> ui.textarea | ui.input:
    """A field for text of one line, or of several."""
    if lines == 1 and not grows:
        made = ui.input(label, value=value).props(f"outlined dense maxlength={most}")
    else:
        made = ui.textarea(label, value=value).props(f"outlined dense autogrow maxlength={most}")
        made.props["input-style"] = f"min-height: {lines * 1.5}em"
    return made.classes("dl-field")


def file_field(visit: Visit, label: str, take: Callable[[bytes], Awaitable[None]], *, ends: str) -> None:
    """A button by which one file is chosen, and sent at once.

    Quasar's own uploader has buttons without names, so it is hidden and ours opens its choice of a file.

    Args:
        take: is given what the file holds.
        ends: names that may be chosen, such as ".txt,.jsonl".
    """

    async def took(event: events.UploadEventArguments) -> None:
        raw = await event.file.read()
        if len(raw) > FILE_BYTES:  # the browser has not kept to it
            tell("file.rejected")
        else:
            await take(raw)

    def tell(key: str) -> None:
        refuse(visit.say(key, ends=ends.replace(",", " / "), most=FILE_BYTES // 1_000_000))

    box = ui.upload(max_file_size=FILE_BYTES, auto_upload=True, on_upload=took)
    box.on_rejected(lambda: tell("file.rejected"))
    box.on("failed", lambda: tell("file.failed"), args=[])
    # Else the same file could not be chosen again after it was mended.
    box.on("finish", js_handler=f"() => runMethod({box.id}, 'reset', [])")
    box.props["accept"] = ends
    box.classes("dl-hidden")
    button = ui.button(label, icon="upload_file", color=None).props("no-caps outline").classes("dl-second")
    # In the browser: a choice of files opens only while the click itself is handled.
    button.on("click", js_handler=f"() => runMethod({box.id}, 'pickFiles', [])")


def words(visit: Visit, text: str, *, typed: bool = False) -> ui.html:
    """What somebody or a model wrote, formatted, or just as it was typed."""
    made = plain(text) if typed else rendered(visit, text)
    return ui.html(made).classes("dl-text").props('dir="auto"')


def rendered(visit: Visit, text: str) -> str:
    """Formatted text as HTML."""
    return rich(text, copy=visit.say("text.copy"), thoughts=visit.say("text.thoughts"))


def prompt_turns(visit: Visit, messages: Sequence[Mapping[str, object]]) -> None:
    """What was said before the answers that are judged."""
    with ui.element("section").classes("dl-prompt") as section:
        section.props["aria-label"] = visit.say("prompt")
        for message in messages:
            role = str(message["role"])
            with ui.element("article").classes(f"dl-turn dl-turn-{role}"):
                ui.label(visit.say(f"speaker.{role}")).classes("dl-who")
                words(visit, str(message["content"]), typed=role != "assistant")


def keys(wanted: str, act: Callable[[str], Awaitable[None]]) -> None:
    """Have an action for single keys, and Enter, wherever the visitor is but in a field.

    Args:
        wanted: the characters.
    """

    async def pressed(event: events.GenericEventArguments) -> None:
        key = str(event.args)
        if key == "Enter" or (len(key) == 1 and key in wanted):
            await act(key)

    ui.on("dl_key", pressed)
    ui.element("div").classes("dl-hidden").props["data-keys"] = wanted  # where our script finds them
