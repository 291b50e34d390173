from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from run_folder import UsageError
from study_app.accounts import Passwords, live_sign_in, set_password, user_named
from study_app.database import Database, Sitting, User
from study_app.settings import Settings
from study_app.web import create_app

PAGES = ("/", "/studies/tiles", "/studies/tiles/state", "/media/x", "/admin/")


def test_sign_in_look_around_and_sign_out(make_study: Any, browser: Any) -> None:
    make_study()
    visitor = browser()
    for page in PAGES:
        assert visitor.get(page).location == "/sign-in"
    assert visitor.sign_in("berta").location == "/"
    assert "tiles" in visitor.get("/").text
    assert visitor.get("/sign-in").location == "/"
    assert visitor.submit("/sign-out").location == "/sign-in"
    for page in PAGES:
        assert visitor.get(page).location == "/sign-in"


@pytest.mark.parametrize(
    ("name", "password"),
    [("berta", "wrong password"), ("nobody", "correct horse battery"), ("", ""), ("BERTA", "x" * 2000)],
)
def test_a_wrong_name_and_a_wrong_password_look_alike(make_study: Any, browser: Any, name: str, password: str) -> None:
    make_study()
    response = browser().sign_in(name, password)
    assert response.status_code == 401
    assert "The name or the password is not right." in response.text
    assert "wrong password" not in response.text


def test_a_cookie_that_was_copied_is_worth_nothing_after_signing_out(make_study: Any, browser: Any, app: Flask) -> None:
    make_study()
    visitor, thief = browser("berta"), browser()
    copied = visitor.client.get_cookie("study_session")
    assert copied is not None
    thief.client.set_cookie("study_session", copied.value)
    assert thief.get("/").status_code == 200
    visitor.submit("/sign-out")
    assert thief.get("/").location == "/sign-in"


def test_what_a_visitor_brings_along_is_not_signed_in_with_them(make_study: Any, browser: Any) -> None:
    make_study()
    visitor = browser()
    visitor.get("/sign-in")
    before = visitor.csrf
    visitor.sign_in("berta")
    visitor.csrf, now = before, visitor.csrf
    assert visitor.submit("/studies/tiles/pause").status_code == 400
    visitor.csrf = now
    assert visitor.submit("/studies/tiles/pause").status_code == 303


def test_sessions_end_by_idling_and_by_age(make_study: Any, browser: Any, clock: Any, settings: Settings) -> None:
    make_study()
    visitor = browser("berta")
    for _ in range(settings.session_hours * 60 // 100):
        clock.forward(minutes=100)
        assert visitor.get("/").status_code == 200
    clock.forward(minutes=100)
    assert visitor.get("/").location == "/sign-in"
    visitor.sign_in("berta")
    clock.forward(minutes=settings.session_idle_minutes + 1)
    assert visitor.get("/studies/tiles/state", headers={"Accept": "application/json"}).status_code == 401


def test_the_shortest_idle_time_ends_no_session_that_goes_on(
    make_study: Any, settings: Settings, browser: Any, clock: Any
) -> None:
    make_study()
    app = create_app(replace(settings, session_idle_minutes=1), clock=clock)
    visitor = browser()
    visitor.client = app.test_client()
    visitor.sign_in("berta")
    for _ in range(4):
        clock.forward(seconds=40)
        assert visitor.get("/").status_code == 200
    app.extensions["study_app"].database.close()


def test_who_may_no_longer_sign_in_is_out_at_once(make_study: Any, browser: Any, database: Database) -> None:
    make_study()
    visitor = browser("berta")
    with database.writing() as session:
        session.scalars(select(User).where(User.name == "berta")).one().active = False
    assert visitor.get("/").location == "/sign-in"
    assert visitor.sign_in("berta").status_code == 401


def test_a_password_that_is_replaced_meanwhile_signs_nobody_in(
    make_study: Any, browser: Any, app: Flask, database: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study()
    visitor, passwords = browser("berta"), app.extensions["study_app"].passwords

    def replace_it(*_: Any, **__: Any) -> None:
        with database.writing() as session:
            set_password(session, passwords, user_named(session, "berta"), "another password", now=clock())

    def looked_up(*how: Any, **more: Any) -> Any:
        found = live_sign_in(*how, **more)
        replace_it()
        return found

    clock.forward(minutes=5)  # so that it is kept when she was last seen
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("study_app.web.visitors.live_sign_in", looked_up)
        visitor.get("/")
    assert visitor.get("/").location == "/sign-in"
    assert visitor.sign_in("berta").status_code == 401
    monkeypatch.setattr(Passwords, "is_outdated", replace_it)
    assert visitor.sign_in("berta", "another password").status_code == 401


def test_signing_out_ends_the_sitting(make_study: Any, browser: Any, database: Database) -> None:
    make_study()
    visitor = browser("berta")
    visitor.get("/studies/tiles")
    visitor.submit("/sign-out")
    with database.reading() as session:
        assert session.scalars(select(Sitting.live)).all() == [None]


def test_guessing_passwords_is_slowed_by_name_and_by_address(
    make_study: Any, settings: Settings, clock: Any, browser: Any
) -> None:
    make_study(readers=("berta", "carl", "dora"))
    limited = replace(settings, sign_in_limit_name="2 per minute", sign_in_limit_address="4 per minute", proxies=1)
    app = create_app(limited, clock=clock)
    try:
        from_there = {"X-Forwarded-For": "198.51.100.7"}

        def attempt(name: str, password: str, headers: dict[str, str]) -> int:
            client = app.test_client()
            visitor = browser.__call__()
            visitor.client = client
            visitor.get("/sign-in")
            fields = {"csrf_token": visitor.csrf, "name": name, "password": password}
            return client.post("/sign-in", data=fields, headers=headers).status_code

        assert [attempt("berta", "guess", {}) for _ in range(3)] == [401, 401, 429]
        assert attempt("Berta ", "guess", from_there) == 429  # by name, from wherever
        assert attempt("carl", "correct horse battery", {}) == 303  # what is right is not counted
        assert [attempt("carl", "guess", {}) for _ in range(2)] == [401, 401]
        assert attempt("dora", "correct horse battery", {}) == 429  # by address
        assert attempt("dora", "correct horse battery", from_there) == 303
    finally:
        app.extensions["study_app"].database.close()
    with pytest.raises(UsageError, match="is no limit"):
        create_app(replace(settings, sign_in_limit_name="many"))
    with pytest.raises(UsageError, match="sign_in_limit_storage is none") as told:
        create_app(replace(settings, sign_in_limit_storage="nosuch://secret@localhost"))
    assert "secret" not in str(told.value)


def test_cookies_and_headers(make_study: Any, settings: Settings, browser: Any, clock: Any) -> None:
    make_study()
    response = browser().get("/sign-in")
    assert "HttpOnly" in response.headers["Set-Cookie"]
    assert "SameSite=Lax" in response.headers["Set-Cookie"]
    assert "Secure" not in response.headers["Set-Cookie"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in response.headers
    app = create_app(replace(settings, https=True), clock=clock)
    secured = app.test_client().get("/sign-in", base_url="https://localhost")
    app.extensions["study_app"].database.close()
    assert "Secure" in secured.headers["Set-Cookie"]
    assert "Strict-Transport-Security" in secured.headers


def test_forged_requests_are_refused(make_study: Any, browser: Any) -> None:
    make_study()
    visitor = browser("berta")
    for path in ("/sign-out", "/studies/tiles/answers", "/studies/tiles/undo", "/studies/tiles/pause"):
        assert visitor.client.post(path, data={"showing": "x", "chosen": "left"}).status_code == 400
    assert visitor.state()["done"] == 0
    assert browser().client.post("/sign-in", data={"name": "berta"}).status_code == 400


def test_a_hash_of_old_settings_is_made_anew(
    make_study: Any, browser: Any, database: Database, settings: Settings, clock: Any
) -> None:
    make_study()

    def kept() -> str:
        with database.reading() as session:
            return session.scalars(select(User.password_hash).where(User.name == "berta")).one()

    before = kept()
    browser("berta")
    assert kept() == before
    app = create_app(replace(settings, argon2_time=2), clock=clock)
    visitor = browser()
    visitor.client = app.test_client()
    assert visitor.sign_in("berta").status_code == 303
    app.extensions["study_app"].database.close()
    assert "t=2" in kept()


def test_the_administration_is_for_administrators(make_study: Any, browser: Any) -> None:
    make_study()
    reader, admin = browser("berta"), browser("anna")
    assert reader.get("/admin/").status_code == 404
    assert "Administration" not in reader.get("/").text
    assert "berta" in admin.get("/admin/studies/tiles").text
    assert admin.get("/studies/tiles").status_code == 404  # who does not read it


def test_large_requests_are_refused(make_study: Any, browser: Any) -> None:
    make_study()
    assert browser("berta").submit("/studies/tiles/pause", more="x" * 100_000).status_code == 413
