from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from run_folder import UsageError
from study_app.accounts import (
    Passwords,
    SignInRules,
    add_user,
    authenticate,
    begin_sign_in,
    end_sign_in,
    live_sign_in,
    set_password,
    user_named,
)
from study_app.database import Database, User
from study_app.settings import Settings

RULES = SignInRules(idle=timedelta(hours=1), longest=timedelta(hours=8))
PASSWORD = "correct horse battery"  # noqa: S105 - of the tests


@pytest.fixture
def passwords(settings: Settings) -> Passwords:
    return Passwords(settings)


def test_hashes_hold_salt_and_settings_and_not_the_password(passwords: Passwords) -> None:
    one, other = passwords.hash(PASSWORD), passwords.hash(PASSWORD)
    assert one != other
    assert one.startswith("$argon2id$")
    assert PASSWORD not in one
    assert passwords.matches(PASSWORD, one)
    assert not passwords.matches(PASSWORD + " ", one)
    assert not passwords.matches(PASSWORD, None)
    assert not passwords.matches(PASSWORD, "no hash")


def test_a_hash_of_other_settings_is_outdated(settings: Settings, passwords: Passwords) -> None:
    from dataclasses import replace

    assert not passwords.is_outdated(passwords.hash(PASSWORD))
    assert Passwords(replace(settings, argon2_time=2)).is_outdated(passwords.hash(PASSWORD))


def test_who_may_sign_in(database: Database, passwords: Passwords, clock: Any) -> None:
    with database.writing() as session:
        add_user(session, passwords, "berta", PASSWORD, now=clock())
        assert authenticate(session, passwords, "berta", PASSWORD) is not None
        assert authenticate(session, passwords, "berta", "correct horse batterY") is None
        assert authenticate(session, passwords, "nobody", PASSWORD) is None
        user_named(session, "berta").active = False
        session.flush()
        assert authenticate(session, passwords, "berta", PASSWORD) is None


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a" * 65, "<b>", "ANNA", "Total"])
def test_names_that_are_none_or_taken(database: Database, passwords: Passwords, clock: Any, name: str) -> None:
    with database.writing() as session, pytest.raises(UsageError, match=r"cannot be a name|already"):
        add_user(session, passwords, name, PASSWORD, now=clock())


def test_a_name_is_taken_in_whatever_case_and_alphabet(database: Database, passwords: Passwords, clock: Any) -> None:
    with database.writing() as session:
        add_user(session, passwords, "Özlem", PASSWORD, now=clock())
        for name in ("Özlem", "ÖZLEM", "özlem"):
            with pytest.raises(UsageError, match="already"):
                add_user(session, passwords, name, PASSWORD, now=clock())
        with pytest.raises(UsageError, match="in other letters"):
            user_named(session, "özlem")


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_passwords_that_are_too_short_or_too_long(
    database: Database, passwords: Passwords, clock: Any, password: str
) -> None:
    with database.writing() as session, pytest.raises(UsageError, match="wanted 10 to 1000"):
        add_user(session, passwords, "berta", password, now=clock())


def test_a_sign_in_ends_by_signing_out_by_idling_and_by_age(database: Database, clock: Any) -> None:
    with database.writing() as session:
        anna = session.scalars(select(User)).one()
        token = begin_sign_in(session, anna, now=clock()).token
        session.flush()
        assert live_sign_in(session, "x" * 43, RULES, now=clock()) is None
        found = live_sign_in(session, token, RULES, now=clock())
        assert found is not None
        for _ in range(9):
            clock.forward(minutes=59)
            still = live_sign_in(session, token, RULES, now=clock())
            if still is None:
                break
            still.last_seen = clock()
        assert clock() - found.started > RULES.longest - timedelta(hours=1)
        assert live_sign_in(session, token, RULES, now=clock()) is None
        idle = begin_sign_in(session, anna, now=clock()).token
        session.flush()
        clock.forward(minutes=61)
        assert live_sign_in(session, idle, RULES, now=clock()) is None
        out = begin_sign_in(session, anna, now=clock()).token
        session.flush()
        end_sign_in(session, out, now=clock())
        session.expire_all()
        assert live_sign_in(session, out, RULES, now=clock()) is None


def test_another_password_ends_what_the_old_one_began(database: Database, passwords: Passwords, clock: Any) -> None:
    with database.writing() as session:
        anna = user_named(session, "anna")
        token = begin_sign_in(session, anna, now=clock()).token
        session.flush()
        set_password(session, passwords, anna, "another password", now=clock())
        session.expire_all()
        assert live_sign_in(session, token, RULES, now=clock()) is None
        assert authenticate(session, passwords, "anna", PASSWORD) is None
        assert authenticate(session, passwords, "anna", "another password") is not None
