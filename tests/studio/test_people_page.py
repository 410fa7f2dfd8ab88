"""People in a real browser: accounts are made, changed and closed, and keys are shown once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import HOSTILE
from small_studio import BOSS, PHONE, Running, until
from test_pages import Visit, button, check, question

from danlu.feedback.accounts import Accounts
from danlu.feedback.records import Ranking
from danlu.serve.studio.people import shown

NAME = "<img src=x onerror=alert(3)>"


@pytest.fixture
def accounts(running: Running) -> Iterator[Accounts]:
    """Whoever a test adds is closed at its end: with a second open account everybody would sign in."""
    yield running.studio.accounts
    for person in running.studio.accounts.people():
        if person.name != BOSS:
            running.studio.accounts.change(person.name, active=False)


def test_an_account_is_made_and_whoever_was_alone_signs_in_from_then_on(accounts: Accounts, visit: Visit):
    visitor = visit()
    page = visitor.go("people")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password", exact=True).fill("short")
    button(page, "Add").click()
    page.wait_for_selector(".q-notification >> text=the password has 5 characters")
    page.get_by_label("Password", exact=True).fill("long enough")
    button(page, "Add").click()
    until(lambda: NAME in {each.name for each in accounts.people()})
    assert accounts.sign_in(NAME, "long enough") is not None
    page.wait_for_selector(".q-notification >> text=signed out")  # nobody is alone any more
    accounts.change(NAME, active=False)


def test_keys_quotas_and_the_last_admin(accounts: Accounts, running: Running, visit: Visit):
    _, made = question(running.store, "Who judges?", "One.", "Two.")
    body = Ranking(completions=tuple(each.id for each in made), ranks=(1, 2), seconds=12.0, comment=HOSTILE)
    running.store.add(BOSS, body)
    visitor = visit(viewport={"width": 1280, "height": 900})
    page = visitor.go("people")
    card = page.get_by_role("article", name=BOSS, exact=True)
    card.wait_for()
    check(visitor, "people-en")
    button(card, "Keys").click()
    page.get_by_label("What the key is for").fill("script of mine")
    button(page, "Make a key").click()
    secret = page.locator(".dl-command").inner_text()
    check(visitor, "people-keys-en")
    known = accounts.who(secret)
    assert known is not None
    assert known[0].name == BOSS
    page.get_by_label("Revoke this key").last.click()
    until(lambda: accounts.who(secret) is None)
    button(page, "Done").click()
    card.get_by_label("Judgements a day").fill("40")
    card.get_by_label("Judgements a day").press("Tab")
    until(lambda: {each.name: each.quota for each in accounts.people()}[BOSS] == 40)
    button(card, "Close the account").click()
    page.wait_for_selector(".q-notification >> text=is the last active admin")


def test_the_page_in_chinese_in_the_dark_on_a_phone(accounts: Accounts, visit: Visit):
    visitor = visit("zh-CN", viewport=PHONE, color_scheme="dark", has_touch=True)
    visitor.go("people").get_by_role("article", name=BOSS, exact=True).wait_for()
    check(visitor, "people-zh-dark-phone")


def test_numbers_about_people_are_read_as_what_they_are():
    assert [shown(*each) for each in (("n", 1200), ("seconds", 12.4), ("noise", 0.125), ("gold", None))] == [
        *("1,200", "12 s", "12%", "–"),
    ]
