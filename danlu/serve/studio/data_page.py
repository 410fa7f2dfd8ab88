"""Data: every data set below the folders that the studio was started with, a page of records at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.serve.studio.address import versioned
from danlu.serve.studio.bars import bars
from danlu.serve.studio.controls import action, text_field
from danlu.serve.studio.data_measures import Measures, Repeats, measure
from danlu.serve.studio.data_records import Part, Shown, laid_out
from danlu.serve.studio.data_sets import (
    MOST_TOKENS,
    Catalogue,
    DataSet,
    Found,
    Record,
    lines_of,
    open_shard,
    read,
    search,
    spelled,
)
from danlu.serve.studio.rich_text import plain, shown
from danlu.serve.studio.visit import Visit, reason, told
from danlu.tokenizer.interface import TextTokenizer

N_SHOWN = 10  # records on a page
MOST_LISTED = 300  # data sets in the list; others are found by searching
DROPPED = "dropped.ndjson"
STEPS = ("read", "mended", "dropped", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One data set on the page."""

    data_set: DataSet
    tokenizer: TextTokenizer | None  # of shards
    account: Mapping[str, Any]  # of the cleaning that made it
    dropped: str  # name of the set that holds what the cleaning dropped; empty if there is none
    found: Found
    whole: bool  # whether all of it is looked at, or only its beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the address asks for."""

    name: str
    first: int  # record, counted from 0
    wanted: str  # text that the records are to hold
    rule: str  # by which they were dropped

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        number = query.get("n", "1")
        first = int(number) - 1 if number.isascii() and number.isdecimal() and len(number) < 16 else 0
        wanted, rule = query.get("q", "")[:200], query.get("rule", "")[:100]
        return cls(name=query.get("set", "")[:2000], first=max(first, 0), wanted=wanted, rule=rule)

    def address(self, **changes: object) -> str:
        """The address of this, or of something like it."""
        fields = {"set": self.name, "n": self.first + 1, "q": self.wanted, "rule": self.rule} | changes
        kept = {key: value for key, value in fields.items() if value not in ("", 1)}
        return f"/data?{urlencode(kept)}"


async def build(visit: Visit) -> None:
    """The page."""
    for name in ("training.css", "inspect.css"):
        ui.add_head_html(f'<link rel="stylesheet" href="{versioned(name)}">')
    catalogue, asked = visit.studio.catalogue, Asked.of(visit.query)
    if catalogue is None:
        ui.label(visit.say("data.off")).classes("dl-quiet")
        return
    beside = visit.studio.reading
    try:
        sets = await beside.run(visit, catalogue.sets)
        opened = await beside.run(visit, open_set, visit, catalogue, asked) if asked.name else None
    except FeedbackError as error:
        sets, opened = await _listed(visit, catalogue), None
        ui.label(reason(visit, error)).classes("dl-alert dl-text").props("role=alert")
    with ui.element("div").classes("dl-desk"):
        with ui.element("div").classes("dl-work"):
            if opened is not None:
                _set(visit, catalogue, asked, opened)
            elif not asked.name:
                _overview(visit, catalogue, sets)
        with ui.element("aside").classes("dl-side") as side:
            side.props["aria-label"] = visit.say("data.list")
            _list(visit, asked, sets)


async def _listed(visit: Visit, catalogue: Catalogue) -> list[DataSet]:
    try:
        return await visit.studio.reading.run(visit, catalogue.sets)
    except FeedbackError:
        return []


def open_set(visit: Visit, catalogue: Catalogue, asked: Asked) -> Opened:
    """Find a data set and read what is asked of it."""
    data_set = catalogue.find(asked.name)
    tokenizer, whole = None, True
    if data_set.kind == "shards":
        tokenizer = _tokenizer(visit, catalogue, open_shard(data_set).fingerprint)
    else:
        whole = lines_of(data_set).whole
    if asked.wanted or asked.rule:
        found = search(data_set, asked.wanted, asked.rule, tokenizer, asked.first, N_SHOWN)
    else:
        found = Found(records=read(data_set, asked.first, N_SHOWN), n_read=N_SHOWN, after=None)
    return Opened(
        data_set=data_set,
        tokenizer=tokenizer,
        account=catalogue.account(data_set),
        dropped=catalogue.beside(data_set, DROPPED),
        found=found,
        whole=whole,
    )


def _tokenizer(visit: Visit, catalogue: Catalogue, fingerprint: str) -> TextTokenizer | None:
    """The tokenizer of a shard: a model's that is there, or one from the folders."""
    loaded = (voice.service.served.chat.tokenizer for voice in visit.studio.voices)
    known = next((each for each in loaded if each.fingerprint == fingerprint), None)
    return known or catalogue.tokenizer(fingerprint)


def _overview(visit: Visit, catalogue: Catalogue, sets: Sequence[DataSet]) -> None:
    if not sets:
        folders = ", ".join(str(each) for each in catalogue.folders.values())
        ui.label(visit.say("data.none", folders=folders)).classes("dl-quiet dl-text")
        return
    with ui.element("section").classes("dl-answer dl-everything"):
        ui.label(visit.say("data.pick")).classes("dl-heading").props('role="heading" aria-level="2"')
        with ui.element("div").classes("dl-wide-table"), ui.element("table").classes("dl-table dl-sets"):
            _head(visit, "data.set", "data.kind", "data.records", "data.size")
            with ui.element("tbody"):
                for each in sets[:MOST_LISTED]:
                    with ui.element("tr"):
                        with ui.element("td"):
                            ui.link(shown(each.name), Asked.of({"set": each.name}).address()).classes(
                                "dl-text"
                            )
                        _cell(visit.say(f"data.kind_{each.kind}"))
                        _cell(_count(each))
                        _cell(size(each.n_bytes))


def _head(visit: Visit, *keys: str) -> None:
    with ui.element("thead"), ui.element("tr"):
        for key in keys:
            with ui.element("th").props("scope=col"):
                ui.label(visit.say(key))


def _cell(text: str) -> None:
    with ui.element("td"):
        ui.label(shown(text)).classes("dl-text")


def _count(data_set: DataSet) -> str:
    return "…" if data_set.n_records is None else f"{data_set.n_records:,}"


def size(n_bytes: int) -> str:
    """Bytes as they are read."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if n_bytes >= 10**power:
            return f"{n_bytes / 10**power:.1f} {unit}"
    return f"{n_bytes} B"


def _list(visit: Visit, asked: Asked, sets: Sequence[DataSet]) -> None:
    ui.label(visit.say("data.list")).classes("dl-heading").props('role="heading" aria-level="2"')
    box = text_field(visit.say("data.search_list"), most=200)
    rows = ui.element("ul").classes("dl-rows")

    def show() -> None:
        wanted = str(box.value or "").casefold()
        found = [each for each in sets if wanted in each.name.casefold()]
        rows.clear()
        with rows:
            for each in found[:MOST_LISTED]:
                here = each.name == asked.name
                row = ui.element("li").classes("dl-row dl-run" + " dl-here" * here)
                with row, ui.element("div").classes("dl-run-words"):
                    link = ui.link(shown(each.name), Asked.of({"set": each.name}).address())
                    link.classes("dl-row-title dl-text")
                    if here:
                        link.props('aria-current="true"')
                    about = visit.say(f"data.kind_{each.kind}")
                    ui.label(f"{about} · {_count(each)} · {size(each.n_bytes)}").classes("dl-quiet dl-small")
            if len(found) > MOST_LISTED:
                ui.label(visit.say("data.more_sets", n=f"{len(found) - MOST_LISTED:,}")).classes("dl-quiet")

    box.on_value_change(show)
    show()


def _set(visit: Visit, catalogue: Catalogue, asked: Asked, opened: Opened) -> None:
    data_set = opened.data_set
    with ui.element("section").classes("dl-answer"):
        ui.label(shown(data_set.name)).classes("dl-heading dl-text").props('role="heading" aria-level="2"')
        about = [visit.say(f"data.kind_{data_set.kind}"), visit.say("data.n_records", n=_count(data_set))]
        ui.label(" · ".join((*about, size(data_set.n_bytes)))).classes("dl-quiet")
        if not opened.whole:
            ui.label(visit.say("data.beginning_only")).classes("dl-alert")
        if data_set.kind == "shards" and opened.tokenizer is None:
            ui.label(visit.say("data.no_tokenizer")).classes("dl-alert")
        _search(visit, asked, opened)
    _measures(visit, catalogue, asked, opened)
    if opened.account:
        _cleaning(visit, opened)
    _records(visit, asked, opened)


def _search(visit: Visit, asked: Asked, opened: Opened) -> None:
    with ui.element("div").classes("dl-controls"):
        box = text_field(visit.say("data.search"), asked.wanted, most=200).classes("dl-wanted")
        rules = _tallies(opened.account, "dropped")
        rule = None
        if opened.data_set.kind == "dropped" and rules:
            names = {"": visit.say("data.any_rule")} | {name: name for name in rules}
            chosen = asked.rule if asked.rule in names else ""
            rule = ui.select(names, value=chosen, label=visit.say("data.rule"))
            rule.props("outlined dense").classes("dl-metric")

        def go() -> None:
            by = str(rule.value or "") if rule is not None else ""
            ui.navigate.to(asked.address(n=1, q=str(box.value or "").strip(), rule=by))

        box.on("keydown.enter", go)
        action(visit.say("data.find"), go, icon="search")
        number = ui.number(visit.say("data.go_to"), min=1, precision=0).props("outlined dense")
        number.classes("dl-quota")
        number.on("keydown.enter", lambda: ui.navigate.to(asked.address(n=int(number.value or 1), q="")))


def _tallies(account: Mapping[str, Any], step: str) -> dict[str, Mapping[str, Any]]:
    """What an account says of a step, by rule; what is no tally is left out."""
    group: object = account.get(step)
    if not isinstance(group, dict):
        return {}
    rows = cast(dict[str, object], group).items()
    return {name[:100]: cast(Mapping[str, Any], each) for name, each in rows if isinstance(each, dict)}


def _cleaning(visit: Visit, opened: Opened) -> None:
    is_open = opened.data_set.kind == "dropped"
    with (
        ui.expansion(visit.say("data.cleaning"), value=is_open).classes("dl-panel dl-answer"),
        ui.element("div").classes("dl-wide-table"),
        ui.element("table").classes("dl-table dl-cleaning"),
    ):
        _head(visit, "data.step", "data.rule", "data.documents", "data.bytes", "data.example")
        with ui.element("tbody"):
            for step in STEPS:
                for name, tally in list(_tallies(opened.account, step).items())[:100]:
                    _tally(visit, opened, step, name, tally)


def _tally(visit: Visit, opened: Opened, step: str, name: str, tally: Mapping[str, Any]) -> None:
    with ui.element("tr"):
        _cell(visit.say(f"data.step_{step}"))
        if step == "dropped" and opened.dropped:
            with ui.element("td"):
                address = Asked.of({"set": opened.dropped, "rule": name}).address()
                ui.link(shown(name), address).classes("dl-text")
        else:
            _cell(name)
        for field in ("documents", "bytes"):
            value = tally.get(field)
            _cell(f"{value:,}" if type(value) is int else "–")
        examples: object = tally.get("examples")
        first = cast(list[object], examples)[:1] if isinstance(examples, list) else []
        _cell(" ".join(str(each) for each in first)[:160])


def _records(visit: Visit, asked: Asked, opened: Opened) -> None:
    found, data_set = opened.found, opened.data_set
    searched = bool(asked.wanted or asked.rule)
    if searched:
        ui.label(visit.say("data.found", n=len(found.records), read=f"{found.n_read:,}")).classes("dl-quiet")
    elif not found.records:
        ui.label(visit.say("data.empty")).classes("dl-quiet")
    for record in found.records:
        _record(visit, opened, record)
    with ui.element("nav").classes("dl-pager") as pager:
        pager.props["aria-label"] = visit.say("data.pages")
        if asked.first:
            earlier = 1 if searched else max(asked.first + 1 - N_SHOWN, 1)
            word = "data.from_start" if searched else "data.earlier"
            ui.link(visit.say(word), asked.address(n=earlier))
        if searched and found.after is not None:
            ui.link(visit.say("data.search_on"), asked.address(n=found.after + 1))
        if not searched and asked.first + N_SHOWN < (data_set.n_records or 0):
            ui.link(visit.say("data.later"), asked.address(n=asked.first + N_SHOWN + 1))


def _record(visit: Visit, opened: Opened, record: Record) -> None:
    data_set = opened.data_set
    with ui.element("article").classes("dl-answer") as card:
        card.props["aria-label"] = visit.say("data.record", n=f"{record.number:,}")
        with ui.element("div").classes("dl-lesson-head"):
            ui.label(f"{record.number:,}").classes("dl-heading")
            rule = record.tree.get("rule")
            if data_set.kind == "dropped" and isinstance(rule, str):
                ui.label(shown(rule[:100])).classes("dl-state dl-state-died")
            ui.space()
            if data_set.kind not in ("other", "dropped") and not record.raw:
                place = urlencode({"view": "masks", "set": data_set.name, "n": record.number})
                ui.link(visit.say("data.masks"), f"/inspect?{place}").classes("dl-small")
        if record.ids:
            _document(visit, opened, record)
        elif record.raw:
            fault = "data.too_long" if record.n_bytes > 1 << 20 else "data.no_record"
            ui.label(visit.say(fault, size=size(record.n_bytes))).classes("dl-alert dl-small")
            _part(visit, Part(name="", text=record.raw))
        else:
            _laid_out(visit, laid_out(record.tree))


def _document(visit: Visit, opened: Opened, record: Record) -> None:
    n = int(record.tree["n_tokens"])
    about = f"{record.tree['lang']} · {visit.say('data.n_tokens', n=f'{n:,}')}"
    ui.label(shown(about)).classes("dl-quiet dl-small")
    text = spelled(record.ids, opened.tokenizer)
    left_out = max(n - MOST_TOKENS, 0)
    _part(visit, Part(name="", text=text))
    if left_out:
        ui.label(visit.say("data.tokens_left_out", n=f"{left_out:,}")).classes("dl-quiet dl-small")


def _laid_out(visit: Visit, record: Shown) -> None:
    for part in record.parts:
        _part(visit, part)
    if record.about:
        ui.label(shown(record.about)).classes("dl-quiet dl-small dl-text")


def _part(visit: Visit, part: Part) -> None:
    known = part.name in ("system", "user", "assistant", "tool")
    name = visit.say(f"speaker.{part.name}") if part.speaks and known else shown(part.name)
    with ui.element("div").classes("dl-part"):
        if name:
            label = name if part.rank is None else f"{name} · {visit.say('data.rank', n=part.rank)}"
            ui.label(label).classes("dl-who" + " dl-placed" * (part.rank == 1))
        ui.html(plain(part.text), sanitize=False).classes("dl-text").props('dir="auto"')
        if part.n_left_out:
            ui.label(visit.say("data.left_out", n=f"{part.n_left_out:,}")).classes("dl-quiet dl-small")


def _measures(visit: Visit, catalogue: Catalogue, asked: Asked, opened: Opened) -> None:
    area = ui.element("section").classes("dl-answer")

    @told
    async def look(visit: Visit) -> None:
        with area:
            waiting = ui.label(visit.say("data.measuring")).classes("dl-quiet").props("role=status")
        try:
            data_set = await visit.studio.reading.run(visit, catalogue.find, asked.name)
            found = await visit.studio.reading.run(visit, measure, data_set, opened.tokenizer)
        finally:
            waiting.delete()
        area.clear()
        with area:
            _measured(visit, asked, found)

    with area:
        action(visit.say("data.measure"), lambda: look(visit), icon="bar_chart")


def _measured(visit: Visit, asked: Asked, found: Measures) -> None:
    unit = visit.say("data.in_tokens" if found.in_tokens else "data.in_chars")
    with ui.element("div").classes("dl-figures"):
        for value, key in (
            (found.n_measured, "data.n_measured"),
            (found.median, "data.median"),
            (found.longest, "data.longest"),
            (found.n_exact, "data.n_exact"),
            (found.n_near, "data.n_near"),
        ):
            with ui.element("div").classes("dl-figure"):
                ui.label(f"{value:,}").classes("dl-big")
                ui.label(visit.say(key, unit=unit)).classes("dl-quiet dl-small")
    with ui.element("div").classes("dl-charts"):
        bars(visit, visit.say("data.languages"), found.languages, lying=True)
        bars(visit, visit.say("data.lengths", unit=unit), {f"{at:,}": n for at, n in found.lengths})
    if found.repeats:
        ui.label(visit.say("data.repeats")).classes("dl-heading").props('role="heading" aria-level="3"')
        with ui.element("ul").classes("dl-repeats"):
            for each in found.repeats:
                _repeats(visit, asked, each)


def _repeats(visit: Visit, asked: Asked, each: Repeats) -> None:
    with ui.element("li"):
        ui.label(visit.say("data.exact" if each.exact else "data.near")).classes("dl-quiet dl-small")
        for number in each.numbers[:12]:
            ui.link(f"{number:,}", asked.address(n=number, q="", rule="")).classes("dl-place-link")
        if len(each.numbers) > 12:
            ui.label(visit.say("data.and_more", n=f"{len(each.numbers) - 12:,}")).classes("dl-quiet dl-small")
        ui.label(shown(each.beginning)).classes("dl-text dl-one-line")
