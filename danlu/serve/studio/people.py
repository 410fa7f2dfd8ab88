"""People: accounts with their roles and quotas, their keys, and how each of them has judged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from nicegui import ui

from danlu.feedback.accounts import Key, Person, Role, Scope
from danlu.feedback.errors import FeedbackError
from danlu.feedback.summary import PersonRow, status
from danlu.serve.studio.address import versioned
from danlu.serve.studio.controls import action, icon_button, text_field
from danlu.serve.studio.visit import Visit, told

ROLES: tuple[Role, ...] = get_args(Role)
MOST_QUOTA = 100_000
NUMBERS = ("n", "n_skipped", "seconds", "agreement", "noise", "gold")


@dataclass(slots=True)
class Office:
    """Everybody with an account, and where they are shown."""

    visit: Visit
    area: ui.element

    async def show(self) -> None:
        """Show everybody anew."""
        accounts = self.visit.studio.accounts
        people = await self.visit.act("admin", accounts.people)
        found = await asyncio.to_thread(status, self.visit.studio.store)
        rows = {row.person: row for row in found.people}
        self.area.clear()
        with self.area:
            if not people:
                ui.label(self.visit.say("people.nobody")).classes("dl-quiet")
            for person in people:
                _person(self, person, rows.get(person.name))
            strangers = {
                name: row for name, row in rows.items() if name not in {each.name for each in people}
            }
            if strangers:
                _strangers(self.visit, strangers)


async def build(visit: Visit) -> None:
    """The page."""
    ui.add_head_html(f'<link rel="stylesheet" href="{versioned("training.css")}">')
    with ui.element("div").classes("dl-desk"):
        office = Office(visit, ui.element("div").classes("dl-work"))
        with ui.element("aside").classes("dl-side") as side:
            side.props["aria-label"] = visit.say("people.new")
            _new(office)
    await office.show()


def _new(office: Office) -> None:
    say = office.visit.say
    ui.label(say("people.new")).classes("dl-heading").props('role="heading" aria-level="2"')
    name = text_field(say("people.name"), most=200)
    role = _role_select(office.visit, "annotator")
    password = text_field(say("people.password"), most=1000).props(
        'type=password autocomplete="new-password"'
    )
    ui.label(say("people.password_about")).classes("dl-quiet dl-small")

    async def make() -> None:
        given = (str(name.value or "").strip(), cast(Role, role.value), str(password.value or ""))
        if await add(office.visit, *given):
            for box in (name, password):
                box.set_value("")
            await shown_again(office.visit, office)

    action(say("people.add"), make, icon="person_add", main=True)


async def add(visit: Visit, name: str, role: Role, password: str) -> bool:
    """A new account; whether there is one now."""
    made: list[Person] = []

    @told
    async def make(visit: Visit) -> None:
        made.append(await visit.act("admin", _add, visit, name, role, password))

    await make(visit)
    return bool(made)


def _add(visit: Visit, name: str, role: Role, password: str) -> Person:
    accounts = visit.studio.accounts
    # Whoever is first decides about all others; as anything else nobody could open this page again.
    if role != "admin" and not any(each.role == "admin" and each.active for each in accounts.people()):
        raise FeedbackError(visit.say("people.first_is_admin"))
    return accounts.add(name, role, password)


def _person(office: Office, person: Person, row: PersonRow | None) -> None:
    visit = office.visit
    with ui.element("article").classes("dl-answer") as card:
        card.props["aria-label"] = person.name
        with ui.element("div").classes("dl-lesson-head"):
            ui.label(person.name).classes("dl-heading dl-text").props('role="heading" aria-level="2"')
            if not person.active:
                ui.label(visit.say("people.closed")).classes("dl-state")
            ui.space()
            role = _role_select(visit, person.role)
            role.on_value_change(lambda: change(visit, office, person.name, role=cast(Role, role.value)))
            quota = ui.number(
                visit.say("people.quota"), value=person.quota, min=0, max=MOST_QUOTA, precision=0
            )
            quota.props("outlined dense").classes("dl-quota")
            quota.on("change", lambda: change(visit, office, person.name, quota=int(quota.value or 0)))
            icon_button(visit.say("people.set_password"), "password", lambda: _password(office, person.name))
            icon_button(visit.say("people.keys"), "key", lambda: _keys(office, person))
            told_as = visit.say("people.close" if person.active else "people.open")
            icon = "person_off" if person.active else "person"
            icon_button(told_as, icon, lambda: change(visit, office, person.name, active=not person.active))
        _numbers(visit, row)


def _role_select(visit: Visit, role: Role) -> ui.select:
    names = {each: visit.say(f"role.{each}") for each in ROLES}
    made = ui.select(names, value=role, label=visit.say("people.role"))
    return made.props("outlined dense").classes("dl-role")


def _numbers(visit: Visit, row: PersonRow | None) -> None:
    if row is None:
        ui.label(visit.say("people.no_judgements")).classes("dl-quiet dl-small")
        return
    with ui.element("div").classes("dl-figures"):
        for name in NUMBERS:
            with ui.element("div").classes("dl-figure"):
                ui.label(shown(name, getattr(row, name))).classes("dl-heading")
                ui.label(visit.say(f"people.{name}")).classes("dl-quiet dl-small")


def shown(name: str, value: float | None) -> str:
    """A number about a person as it is read."""
    if value is None:
        return "–"
    if name in ("n", "n_skipped"):
        return f"{value:,}"
    return f"{value:.0f} s" if name == "seconds" else f"{value:.0%}"


def _strangers(visit: Visit, rows: Mapping[str, PersonRow]) -> None:
    ui.label(visit.say("people.strangers")).classes("dl-heading").props('role="heading" aria-level="2"')
    for name, row in rows.items():
        with ui.element("article").classes("dl-answer"):
            ui.label(name or visit.say("people.unnamed")).classes("dl-heading dl-text")
            _numbers(visit, row)


async def change(
    visit: Visit,
    office: Office,
    name: str,
    *,
    role: Role | None = None,
    quota: int | None = None,
    active: bool | None = None,
) -> None:
    """Change an account; what is refused is shown as it was."""
    done: list[Person] = []

    @told
    async def apply(visit: Visit) -> None:
        accounts = visit.studio.accounts
        done.append(await visit.act("admin", accounts.change, name, role=role, quota=quota, active=active))
        ui.notify(visit.say("people.changed", name=name))

    with office.area:
        await apply(visit)
        if not done or active is not None:
            await shown_again(visit, office)


@told
async def shown_again(visit: Visit, office: Office) -> None:
    """Show everybody, unless one has just taken the right to see them from oneself."""
    await office.show()


def _password(office: Office, name: str) -> None:
    visit = office.visit
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("people.set_password_of", name=name)).classes("dl-heading dl-text")
        box = text_field(visit.say("people.password"), most=1000)
        box.props('type=password autocomplete="new-password"')

        @told
        async def save(visit: Visit) -> None:
            await visit.act("admin", visit.studio.accounts.change, name, password=str(box.value or ""))
            ui.notify(visit.say("people.changed", name=name))
            dialog.close()

        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(visit.say("save"), lambda: save(visit), main=True)


async def _keys(office: Office, person: Person) -> None:
    visit = office.visit
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("people.keys_of", name=person.name)).classes("dl-heading dl-text")
        area = ui.element("div").classes("dl-samples")
        await _show_keys(visit, area, person.name)
        label = text_field(visit.say("people.key_label"), most=200)
        may = sorted(person.scopes)
        scopes = ui.select(may, value=may[:1], multiple=True, label=visit.say("people.scopes"))
        scopes.props("outlined dense").classes("dl-field")
        days = ui.number(visit.say("people.days"), value=365, min=1, max=10_000, precision=0)
        days.props("outlined dense").classes("dl-field")

        @told
        async def make(visit: Visit) -> None:
            wanted = cast(list[Scope], list(scopes.value or ()))
            secret, _ = await visit.act(
                "admin",
                visit.studio.accounts.new_key,
                person.name,
                str(label.value or ""),
                wanted,
                days=float(days.value or 365),
            )
            await _show_keys(visit, area, person.name)
            with area:
                ui.label(visit.say("people.key_once")).classes("dl-small")
                ui.label(secret).classes("dl-command dl-text")

        with ui.row().classes("dl-buttons"):
            action(visit.say("people.done"), dialog.close)
            action(visit.say("people.new_key"), lambda: make(visit), icon="key", main=True)


async def _show_keys(visit: Visit, area: ui.element, name: str) -> None:
    keys = await visit.act("admin", visit.studio.accounts.keys, name)
    area.clear()
    with area:
        for key in keys:
            if not key.revoked_at:
                _key(visit, area, key)


def _key(visit: Visit, area: ui.element, key: Key) -> None:
    @told
    async def revoke(visit: Visit) -> None:
        await visit.act("admin", visit.studio.accounts.revoke, key.id)
        await _show_keys(visit, area, key.person)

    with ui.element("div").classes("dl-row"):
        until = key.expires_at[:10] or visit.say("people.for_ever")
        ui.label(f"{key.label or '–'} · {', '.join(sorted(key.scopes))} · {until}").classes("dl-row-title")
        icon_button(visit.say("people.revoke"), "delete", lambda: revoke(visit))
