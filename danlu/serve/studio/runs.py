"""Runs: every run below a folder, their curves side by side, and of each its settings, result and lineage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

from nicegui import ui

from danlu.serve.studio.address import versioned
from danlu.serve.studio.charts import chart
from danlu.serve.studio.controls import text_field, words
from danlu.serve.studio.run_records import Curves, RunRecord, find_run, find_runs, lineage, samples_in
from danlu.serve.studio.smoothing import Points, above_zero, smoothed
from danlu.serve.studio.visit import Visit
from danlu.serve.studio.workshop import Workshop

MOST = 6  # runs side by side
MOST_SETTINGS = 200  # lines of a run's settings that are shown
FIRST_METRIC = "loss"


@dataclass(slots=True)
class Bench:
    """What stands side by side, and how."""

    visit: Visit
    runs: Mapping[str, RunRecord]
    chosen: dict[str, Curves] = field(default_factory=dict[str, Curves])
    metric: str = FIRST_METRIC
    weight: float = 0.0
    log: bool = False
    area: ui.element | None = None
    picker: ui.select | None = None

    def show(self) -> None:
        """Draw the curves anew."""
        if self.area is None:
            return
        self.area.clear()
        with self.area:
            if not self.chosen:
                ui.label(self.visit.say("runs.pick")).classes("dl-quiet")
                return
            curves, n_left_out = side_by_side(self.chosen, self.metric, self.weight, log=self.log)
            chart(self.visit, self.metric, curves, log=self.log).classes("dl-chart-wide")
            if n_left_out:
                ui.label(self.visit.say("runs.left_out", n=f"{n_left_out:,}")).classes("dl-quiet dl-small")

    def offer(self) -> None:
        """Let those metrics be picked that one of the runs has."""
        names = list(dict.fromkeys(name for curves in self.chosen.values() for name in curves))
        self.metric = self.metric if self.metric in names else next(iter(names), FIRST_METRIC)
        if self.picker is not None:
            self.picker.set_options(names or [self.metric], value=self.metric)


def side_by_side(
    chosen: Mapping[str, Curves], metric: str, weight: float, *, log: bool
) -> tuple[dict[str, Points], int]:
    """One metric of several runs, smoothed, and how many points a logarithmic axis leaves out."""
    whole = {name: smoothed(curves[metric], weight) for name, curves in chosen.items() if metric in curves}
    if not log:
        return dict(whole), 0
    shown = {name: above_zero(points) for name, points in whole.items()}
    return dict(shown), sum(len(whole[name]) - len(shown[name]) for name in whole)


async def build(visit: Visit) -> None:
    """The page."""
    ui.add_head_html(f'<link rel="stylesheet" href="{versioned("training.css")}">')
    workshop = visit.studio.workshop
    if workshop is None:
        ui.label(visit.say("teach.off")).classes("dl-quiet")
        return
    runs = await asyncio.to_thread(find_runs, workshop.runs)
    if not runs:
        ui.label(visit.say("runs.none", folder=workshop.runs)).classes("dl-quiet dl-text")
        return
    bench = Bench(visit, {run.name: run for run in runs})
    wanted = visit.query.get("run", "")
    if wanted in bench.runs:
        await _choose(bench, wanted, chosen=True)
    with ui.element("div").classes("dl-desk dl-runs"):
        with ui.element("div").classes("dl-work"):
            _bench(bench)
            if wanted:
                await _run(visit, workshop, wanted)
        with ui.element("aside").classes("dl-side") as side:
            side.props["aria-label"] = visit.say("runs.list")
            _list(bench, runs)
    bench.offer()
    bench.show()


def _bench(bench: Bench) -> None:
    visit = bench.visit
    with ui.element("section").classes("dl-answer"):
        ui.label(visit.say("runs.curves")).classes("dl-heading").props('role="heading" aria-level="2"')
        with ui.element("div").classes("dl-controls"):
            bench.picker = ui.select([bench.metric], value=bench.metric, label=visit.say("runs.metric"))
            bench.picker.props("outlined dense").classes("dl-metric")

            def picked() -> None:
                if bench.picker is not None and isinstance(bench.picker.value, str):
                    bench.metric = bench.picker.value
                    bench.show()

            bench.picker.on_value_change(picked)
            with ui.element("div").classes("dl-slider"):
                ui.label(visit.say("runs.smoothing")).classes("dl-quiet dl-small")
                slider = ui.slider(min=0, max=0.99, step=0.01, value=0)
                slider.props["aria-label"] = visit.say("runs.smoothing")

                def smooth() -> None:
                    bench.weight = float(slider.value or 0)
                    bench.show()

                slider.on("change", smooth)

            def scaled() -> None:
                bench.log = bool(axis.value)
                bench.show()

            axis = ui.switch(visit.say("runs.log_axis"), on_change=scaled)
            axis.props["aria-label"] = visit.say("runs.log_axis")
        bench.area = ui.element("div").classes("dl-curves")


def _list(bench: Bench, runs: Sequence[RunRecord]) -> None:
    visit = bench.visit
    ui.label(visit.say("runs.list")).classes("dl-heading").props('role="heading" aria-level="2"')
    search = text_field(visit.say("runs.search"), most=200)
    with ui.element("ul").classes("dl-rows") as rows:
        pass

    def show() -> None:
        wanted = str(search.value or "").casefold()
        rows.clear()
        with rows:
            for run in runs:
                if wanted in run.name.casefold():
                    _row(bench, run)

    search.on_value_change(show)
    show()


def _row(bench: Bench, run: RunRecord) -> None:
    visit = bench.visit
    with ui.element("li").classes("dl-row dl-run" + " dl-here" * (visit.query.get("run") == run.name)):
        box = ui.checkbox(value=run.name in bench.chosen).props("dense")
        box.props["aria-label"] = visit.say("runs.compare", name=run.name)

        async def ticked() -> None:
            if await _choose(bench, run.name, chosen=bool(box.value)):
                bench.show()
            else:
                box.set_value(False)

        box.on_value_change(ticked)
        with ui.element("div").classes("dl-run-words"):
            ui.link(run.name, f"/runs?{urlencode({'run': run.name})}").classes("dl-row-title dl-text")
            when = datetime.fromtimestamp(run.changed_at).isoformat(" ", "minutes")
            told = visit.say("runs.ended" if run.ended else "runs.unfinished")
            ui.label(f"{visit.say(f'runs.kind_{run.kind}')} · {told} · {when}").classes("dl-quiet dl-small")


async def _choose(bench: Bench, name: str, *, chosen: bool) -> bool:
    """Put a run beside the others, or take it away; False where there is no room."""
    if chosen and name not in bench.chosen and len(bench.chosen) >= MOST:
        ui.notify(bench.visit.say("runs.most", n=MOST), type="warning")
        return False
    if chosen:
        run = bench.runs[name]
        bench.chosen[name] = await asyncio.to_thread(lambda: run.curves)
    else:
        bench.chosen.pop(name, None)
    bench.offer()
    return True


async def _run(visit: Visit, workshop: Workshop, name: str) -> None:
    """One run: where it comes from, what it was told, what came out."""
    run = await asyncio.to_thread(find_run, workshop.runs, name)
    if run is None:
        ui.label(visit.say("runs.unknown")).classes("dl-alert")
        return
    summary = await asyncio.to_thread(lambda: run.summary)
    rows = await asyncio.to_thread(lineage, workshop.runs, run)
    with ui.element("section").classes("dl-answer"):
        ui.label(run.name).classes("dl-heading dl-text").props('role="heading" aria-level="2"')
        if run.has_report:
            ui.link(visit.say("runs.report"), f"/report?{urlencode({'run': run.name})}", new_tab=True)
        if rows:
            _lineage(visit, rows)
        samples = samples_in(summary)
        if samples:
            _samples(visit, samples)
        if summary:
            _lines(visit.say("runs.summary"), json.dumps(summary, ensure_ascii=False, indent=1))
        _lines(visit.say("runs.settings"), "\n".join(settings_of(run.config)))


def _samples(visit: Visit, samples: Sequence[tuple[str, str]]) -> None:
    shown = ui.expansion(visit.say("runs.samples"), value=True).classes("dl-panel")
    with shown, ui.element("div").classes("dl-samples"):
        for question, answer in samples:
            with ui.element("div").classes("dl-sample"):
                words(visit, question).classes("dl-who")
                words(visit, answer)


def _lineage(visit: Visit, rows: Sequence[tuple[int, str, str, RunRecord | None]]) -> None:
    ui.label(visit.say("runs.lineage")).classes("dl-heading").props('role="heading" aria-level="3"')
    with ui.element("ul").classes("dl-lineage"):
        for depth, key, path, maker in rows:
            with ui.element("li").style(f"margin-inline-start: {1.4 * depth:.1f}em"):
                ui.label(key).classes("dl-quiet dl-small")
                if maker is None:
                    ui.label(path).classes("dl-text")
                else:
                    ui.link(maker.name, f"/runs?{urlencode({'run': maker.name})}").classes("dl-text")


def _lines(title: str, text: str) -> None:
    with ui.expansion(title).classes("dl-panel"):
        ui.label(text).classes("dl-log dl-text").props('tabindex="0"')


def settings_of(config: Mapping[str, object], prefix: str = "") -> list[str]:
    """Settings as `key = value`, those of tables with their dotted key."""
    lines: list[str] = []
    for key, value in config.items():
        if isinstance(value, dict):
            lines += settings_of(value, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key} = {json.dumps(value, ensure_ascii=False, default=str)}")
    return lines[:MOST_SETTINGS]
