"""Tasks: trainers and administrators make work for people out of prompts, with models that answer them."""

from __future__ import annotations

from dataclasses import dataclass

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.serve.studio.controls import action, file_field, icon_button, text_field
from danlu.serve.studio.replies import sampling_at
from danlu.serve.studio.task_maker import FEWEST, MOST, Job, Wanted, Work, read_prompts
from danlu.serve.studio.visit import Visit, told

LOOK_S = 0.5
MOST_FAULTS = 5  # that are spelled out
MOST_SPEAKERS = 4


@dataclass(slots=True)
class Speaker:
    """A model, and how warm it is."""

    name: str
    temperature: float


class Form:
    """What is to be made."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.speakers = [
            Speaker(each.name, each.service.served.sampling.temperature)
            for each in visit.studio.voices[:MOST_SPEAKERS]
        ]
        works: dict[Work, str] = {"rank": visit.say("tasks.rank"), "demonstrate": visit.say("tasks.write")}
        self.work = ui.radio(works, value="rank").props("inline dense")
        self.work.props["aria-label"] = visit.say("tasks.kind")
        self.prompts = text_field(visit.say("tasks.prompts"), lines=6, most=2_000_000)
        ui.label(visit.say("tasks.prompts_about")).classes("dl-quiet dl-small")
        file_field(
            visit, visit.say("tasks.file"), lambda raw: _take_file(visit, self, raw), ends=".txt,.jsonl"
        )
        self._area = ui.element("div").classes("dl-contenders")
        with ui.row().classes("dl-line"):
            self.n_answers = ui.number(visit.say("tasks.n"), value=4, min=FEWEST, max=MOST, step=1)
            self.overlap = ui.number(visit.say("tasks.overlap"), value=1, min=1, max=50, step=1)
            for box in (self.n_answers, self.overlap):
                box.props("outlined dense").classes("dl-half")
            self.draft = ui.checkbox(visit.say("tasks.draft"), value=True).props("dense")
            self.n_answers.bind_visibility_from(self.work, "value", value="rank")
            self.draft.bind_visibility_from(self.work, "value", value="demonstrate")
        self.guideline = text_field(visit.say("tasks.guideline"), lines=2, most=20_000)
        self.show_speakers()

    def show_speakers(self) -> None:
        """Show who answers."""
        visit = self._visit
        self._area.clear()
        with self._area:
            for speaker in self.speakers:
                self._speaker(speaker)
            if len(self.speakers) < MOST_SPEAKERS:
                action(visit.say("compare.more"), self._more, icon="add")

    def _speaker(self, speaker: Speaker) -> None:
        visit, names = self._visit, [each.name for each in self._visit.studio.voices]
        with ui.element("div").classes("dl-contender"):
            model = ui.select(names, value=speaker.name, label=visit.say("sampling.model"))
            model.props("outlined dense options-dense").classes("dl-grow")
            model.on_value_change(lambda event: setattr(speaker, "name", str(event.value)))
            heat = ui.number(
                visit.say("sampling.temperature"), value=speaker.temperature, min=0, max=2, step=0.1
            )
            heat.props("outlined dense").classes("dl-heat")
            heat.on_value_change(lambda event: setattr(speaker, "temperature", float(event.value or 0.0)))
            if len(self.speakers) > 1:
                icon_button(visit.say("compare.fewer"), "close", lambda: self._fewer(speaker))

    def _more(self) -> None:
        last = self.speakers[-1]
        self.speakers.append(Speaker(last.name, last.temperature))
        self.show_speakers()

    def _fewer(self, speaker: Speaker) -> None:
        self.speakers = [each for each in self.speakers if each is not speaker]
        self.show_speakers()

    @property
    def wanted(self) -> Wanted:
        """What was asked for; FeedbackError if it cannot be made."""
        do: Work = "demonstrate" if self.work.value == "demonstrate" else "rank"
        n = round(self.n_answers.value or 0) if do == "rank" else int(bool(self.draft.value))
        found = [(self._visit.studio.voice(each.name), each) for each in self.speakers]
        if missing := [each.name for voice, each in found if voice is None]:
            raise FeedbackError(self._visit.say("tasks.no_model", name=missing[0]))
        speakers = [
            (voice, sampling_at(voice.service.served.sampling, each.temperature))
            for voice, each in found
            if voice is not None
        ]
        return Wanted(
            do=do,
            speakers=speakers if n else (),
            n_answers=n,
            overlap=round(self.overlap.value or 1),
            guideline=str(self.guideline.value or "").strip(),
        )


async def build(visit: Visit) -> None:
    """The page."""
    with ui.element("section").classes("dl-work"):
        ui.label(visit.say("tasks.about")).classes("dl-quiet")
        form = Form(visit)
        with ui.row().classes("dl-buttons"):
            action(visit.say("tasks.make"), lambda: begin(visit, form), icon="playlist_add", main=True)
    area = ui.element("section").classes("dl-work").props('role="status"')
    area.props["aria-label"] = visit.say("tasks.jobs")
    shown: dict[str, JobView] = {}

    def look() -> None:
        jobs = visit.studio.tasks.jobs
        for job in reversed(jobs):  # the newest comes to stand at the top
            if job.id not in shown:
                with area:
                    shown[job.id] = JobView(visit, job)
            shown[job.id].update()
        for gone in shown.keys() - {job.id for job in jobs}:
            shown.pop(gone).card.delete()

    look()
    ui.timer(LOOK_S, look)


@told
async def _take_file(visit: Visit, form: Form, raw: bytes) -> None:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedbackError(visit.say("tasks.no_text", place=error.start)) from None
    read_prompts(text)  # refused before it is shown
    form.prompts.set_value(text)


@told
async def begin(visit: Visit, form: Form) -> None:
    """Begin to make the tasks."""
    visit.check("train")
    asked = read_prompts(str(form.prompts.value or ""))
    visit.studio.tasks.begin(visit.person.name, asked, form.wanted)
    form.prompts.set_value("")


@told
async def stop(visit: Visit, job: Job) -> None:
    """End a job."""
    visit.check("train")
    visit.studio.tasks.stop(job)


class JobView:
    """A job as it goes. Only what has changed is drawn anew; a click on Stop does not go astray."""

    def __init__(self, visit: Visit, job: Job) -> None:
        self._visit, self._job, self._seen = visit, job, ("", 0)
        self.card = ui.element("article").classes("dl-answer")
        self.card.move(target_index=0)
        with self.card:
            with ui.element("div").classes("dl-answer-head"):
                self._state = ui.label().classes("dl-heading")
                self._progress = ui.label()
                ui.space()
                self._stop = action(visit.say("chat.stop"), lambda: stop(visit, job), icon="stop")
                self._link = ui.link(visit.say(f"page.{job.wanted.do}"), f"/{job.wanted.do}")
            self._bar = ui.linear_progress(show_value=False, size="6px")
            self._notes = ui.element("div")

    def update(self) -> None:
        """Draw what has changed."""
        job, say = self._job, self._visit.say
        if self._seen == (job.state, job.n_done):
            return
        self._seen = job.state, job.n_done
        made = job.n_done - len(job.faults) - job.n_known
        progress = say("tasks.progress", n=job.n_done, all=job.n_prompts, made=made)
        self._state.set_text(say(f"tasks.{job.state}"))
        self._progress.set_text(progress)
        self._stop.set_visibility(job.state == "running")
        self._link.set_visibility(job.state != "running" and made > 0)
        self._bar.set_value(job.n_done / job.n_prompts)
        self._bar.props["aria-label"] = progress
        self._notes.clear()
        with self._notes:
            if job.n_known:
                ui.label(say("tasks.known", n=job.n_known)).classes("dl-quiet dl-small")
            for fault in job.faults[:MOST_FAULTS]:
                ui.label(self._visit.translate(fault)).classes("dl-alert dl-small")
            if len(job.faults) > MOST_FAULTS:
                ui.label(say("tasks.more_faults", n=len(job.faults) - MOST_FAULTS)).classes("dl-alert")
