"""Accounts: roles, passwords, keys; nothing of them in the log."""

from __future__ import annotations

import hashlib
from base64 import b64decode

import pytest
from people import Clock

from danlu.feedback import accounts as kept
from danlu.feedback.accounts import MAY, Accounts, hash_password, is_password
from danlu.feedback.errors import FeedbackError
from danlu.feedback.store import Store

PASSWORD = "correct horse 电池"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost little, where their strength is not the question."""
    monkeypatch.setattr(kept, "COST", 1 << 4)
    monkeypatch.setattr(kept, "NOBODY", hash_password("nobody has this"))


def test_a_password_is_kept_as_scrypt_says_and_nowhere_else(store: Store):
    Accounts(store).add("ann", "admin", PASSWORD)
    with store.database.read() as connection:
        (stored,) = connection.exec_driver_sql("SELECT password FROM people").scalars()
    kind, n, r, p, salt, found = stored.split("$")
    assert (kind, int(n), int(r), int(p)) == ("scrypt", 16384, 8, 5)
    assert b64decode(found) == hashlib.scrypt(
        PASSWORD.encode(), salt=b64decode(salt), n=16384, r=8, p=5, maxmem=1 << 26, dklen=32
    )
    assert list(store.events(stands=False)) == []


@pytest.mark.usefixtures("cheap")
def test_one_password_has_many_hashes_and_no_other_fits():
    one, two = hash_password(PASSWORD), hash_password(PASSWORD)
    assert one != two
    assert is_password(PASSWORD, one)
    assert not is_password(PASSWORD + " ", one)


@pytest.mark.usefixtures("cheap")
def test_signing_in_needs_name_password_and_an_active_account(store: Store):
    accounts = Accounts(store)
    accounts.add("ann", "admin", PASSWORD)
    accounts.add("bob", "annotator", PASSWORD)
    accounts.add("bot", "guest")
    signed_in = accounts.sign_in("bob", PASSWORD)
    assert signed_in is not None
    assert signed_in.scopes == {"chat", "annotate"}
    accounts.change("bob", active=False)
    for name, password in (
        ("bob", PASSWORD),
        ("ann", "wrong"),
        ("nobody", PASSWORD),
        ("bot", ""),
        ("bot", PASSWORD),
    ):
        assert accounts.sign_in(name, password) is None


def test_roles_may_ever_less():
    assert MAY["admin"] > MAY["trainer"] > MAY["annotator"] > MAY["guest"] == {"chat"}


def test_the_last_admin_stays(store: Store):
    accounts = Accounts(store)
    accounts.add("ann", "admin")
    for change in ({"role": "guest"}, {"active": False}):
        with pytest.raises(FeedbackError, match="'ann' is the last active admin"):
            accounts.change("ann", **change)  # type: ignore[arg-type]
    accounts.add("bob", "admin")
    assert accounts.change("ann", role="trainer").role == "trainer"
    assert [(each.name, each.role) for each in accounts.people()] == [("ann", "trainer"), ("bob", "admin")]


def test_a_key_opens_what_it_says_until_it_ends(store: Store, clock: Clock):
    accounts = Accounts(store)
    accounts.add("ann", "trainer")
    secret, key = accounts.new_key("ann", "notebook", {"chat", "train"}, days=1)
    person, scopes = accounts.who(secret) or pytest.fail("the key opens nothing")
    assert (person.name, scopes) == ("ann", {"chat", "train"})
    assert accounts.who(secret[:-1]) is None
    with store.database.read() as connection:
        row = connection.exec_driver_sql("SELECT * FROM keys").one()
    assert hashlib.sha256(secret.encode()).hexdigest() in row
    assert not any(secret in str(each) for each in row)
    assert accounts.keys("ann") == [key]
    clock.pass_by(hours=24)
    assert accounts.who(secret) is None


def test_a_key_opens_no_more_than_its_owner_today(store: Store):
    accounts = Accounts(store)
    accounts.add("ann", "trainer")
    secret, key = accounts.new_key("ann", "", {"chat", "train"})
    accounts.change("ann", role="annotator")
    assert (accounts.who(secret) or (None, None))[1] == {"chat"}
    accounts.revoke(key.id)
    assert accounts.who(secret) is None
    with pytest.raises(FeedbackError, match="is in force"):
        accounts.revoke(key.id)
    with pytest.raises(FeedbackError, match=r"'ann' \(annotator\) may give some of \['annotate', 'chat'\]"):
        accounts.new_key("ann", "", {"admin"})
    accounts.add("bob", "guest")
    accounts.change("bob", active=False)
    with pytest.raises(FeedbackError, match="may give some of"):
        accounts.new_key("bob", "", {"chat"})


def test_what_makes_no_account_is_told(store: Store):
    accounts = Accounts(store)
    accounts.add("ann", "guest")
    for arguments, told in (
        (("ann", "guest"), "has an account already"),
        (("", "guest"), "the name is empty"),
        (("bob", "king"), "the role is 'king'"),
        (("bob", "guest", "short"), "has 5 characters; at least 8"),
        (("bob\n", "guest"), "one line"),
    ):
        with pytest.raises(FeedbackError, match=told):
            accounts.add(*arguments)  # type: ignore[arg-type]
    with pytest.raises(FeedbackError, match="'eve' has no account"):
        accounts.change("eve", role="guest")


def test_a_forgotten_key_opens_nothing_and_an_unknown_one_is_no_error(store: Store):
    accounts = Accounts(store)
    accounts.add("ann", "annotator")
    secret, _ = accounts.new_key("ann", "browser", ["chat"])
    other, _ = accounts.new_key("ann", "browser", ["chat"])
    for each in (secret, secret, "danlu-unknown", ""):
        accounts.forget(each)
    assert accounts.who(secret) is None
    assert accounts.who(other) is not None
