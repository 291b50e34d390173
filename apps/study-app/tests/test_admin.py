"""The administration: who may come in, and what can be done with studies and their readers."""

import re
from typing import Any

from flask import Flask
from sqlalchemy import select

from study_app.database import Database, Showing, SignIn, Study, StudyReader, User
from study_app.studies import study_named

PASSWORD = re.compile(r"<code>((?:[a-z2-9]{4}-){3}[a-z2-9]{4})</code>")
NEW = {"name": "more", "size_px": "16", "kind": "single", "margin": "0.2", "seed": "5"}


def study_of(database: Database, name: str = "tiles") -> Study:
    with database.reading() as session:
        return study_named(session, name)


def said(page: Any) -> list[str]:
    return re.findall(r'<p class="message[^"]*"[^>]*>([^<]*)</p>', page.text)


def test_all_of_it_is_for_administrators_alone(make_study: Any, browser: Any, app: Flask) -> None:
    make_study()
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("admin.")]
    assert len(rules) >= 24
    values: dict[str, Any] = {"name": "tiles", "user_id": 2, "ending": "json", "file": "x.jpg"}
    nobody, reader, admin = browser(), browser("berta"), browser("anna")
    nobody.get("/sign-in")
    for rule in rules:
        with app.test_request_context():
            path = rule.build({name: values[name] for name in rule.arguments})[1]  # type: ignore[index]
        if "GET" in (rule.methods or ()):
            assert nobody.get(path).location == "/sign-in", path
            assert reader.get(path).status_code == 404, path
            assert admin.get(path).status_code == (404 if path.endswith("x.jpg") else 200), path
        if "POST" in (rule.methods or ()):
            assert nobody.submit(path).location == "/sign-in", path
            assert reader.submit(path).status_code == 404, path
            assert admin.client.post(path).status_code == 400, path  # without the token against forged requests


def test_there_is_nothing_of_studies_and_users_that_are_not_there(browser: Any) -> None:
    admin = browser("anna")
    for page in ("", "/statistics", "/images", "/images/x.jpg", "/report.html", "/report.pdf", "/export.csv"):
        assert admin.get(f"/admin/studies/none{page}").status_code == 404
    for action in ("open", "close", "settings", "readers", "readers/remove", "images/folders", "images/crops"):
        fields = {"margin": "0.1", "reader": "berta", "min_tissue": "0"}
        assert admin.submit(f"/admin/studies/none/{action}", **fields).status_code == 404
    assert admin.submit("/admin/users/99/password").status_code == 404


def test_a_study_is_made_by_a_form(browser: Any, database: Database) -> None:
    admin = browser("anna")
    assert "There is no study yet" in admin.get("/admin/").text
    assert admin.submit("/admin/new-study", **NEW, title="More <b>").location == "/admin/studies/more/images"
    made = study_of(database, "more")
    assert (made.size_px, made.kind, made.margin, made.seed) == (16, "single", 0.2, 5)
    assert made.question == "Is this image real or synthetic?"
    assert "More &lt;b&gt;" in admin.get("/admin/").text


def test_what_makes_no_sense_is_told_and_what_was_typed_is_kept(browser: Any, database: Database) -> None:
    admin = browser("anna")
    for field, value, told in (
        ("name", "No Such Name", "cannot be a study&#39;s name"),
        ("name", "", "cannot be a study&#39;s name"),
        ("size_px", "x", "size px: &#39;x&#39; is no whole number"),
        ("size_px", "0", "wanted 1 to"),
        ("kind", "triples", "&#39;triples&#39; is no kind"),
        ("kind", "slides", "is no kind"),
        ("margin", "0.5", "lies between 0 and 0.5"),
        ("margin", "nan", "lies between 0 and 0.5"),
        ("seed", "-1", "wanted 0 or more"),
    ):
        response = admin.submit("/admin/new-study", **{**NEW, "title": "Kept", field: value})
        assert response.status_code == 400
        assert told in said(response)[0]
        assert 'value="Kept"' in response.text
    with database.reading() as session:
        assert session.scalars(select(Study)).all() == []


def test_a_study_is_opened_and_closed_and_readers_notice(make_study: Any, browser: Any, database: Database) -> None:
    make_study(opened=False)
    admin, reader = browser("anna"), browser("berta")
    assert reader.get("/studies/tiles").status_code == 404
    assert admin.submit("/admin/studies/tiles/close").location == "/admin/studies/tiles"
    assert "it is a draft" in said(admin.get("/admin/studies/tiles"))[0]
    admin.submit("/admin/studies/tiles/open")
    assert reader.answer("left")["done"] == 1
    page = admin.get("/admin/studies/tiles").text
    assert "1 of 4" in page
    admin.submit("/admin/studies/tiles/close")
    assert reader.state()["open"] is False
    admin.submit("/admin/studies/tiles/open")
    assert study_of(database).closed is None
    assert reader.state()["open"] is True


def test_question_and_margin_are_settled_when_a_study_is_opened(
    make_study: Any, browser: Any, database: Database
) -> None:
    make_study(opened=False)
    admin = browser("anna")
    settings = "/admin/studies/tiles/settings"
    admin.submit(settings, title="T", question="Which?", margin="0.2")
    admin.submit("/admin/studies/tiles/open")
    for change in ({"margin": "0.3"}, {"question": "Other?"}, {"margin": "x"}):
        admin.submit(settings, **{"title": "U", "question": "Which?", "margin": "0.2", **change})
        (told,) = said(admin.get("/admin/studies/tiles"))[-1:]
        assert "stay as they are" in told or "no number" in told
    admin.submit(settings, title="U", question="Which?", margin="0.2", results_shown="yes")
    found = study_of(database)
    assert (found.title, found.question, found.margin, found.results_shown) == ("U", "Which?", 0.2, True)


def test_a_new_reader_gets_a_password_that_is_shown_once(make_study: Any, browser: Any, database: Database) -> None:
    make_study(readers=())
    admin = browser("anna")
    made = admin.submit("/admin/studies/tiles/readers", reader="carl")
    (password,) = PASSWORD.findall(made.text)
    assert made.headers["Cache-Control"] == "no-store"
    reader = browser()
    assert reader.sign_in("carl", password).status_code == 303
    assert reader.answer("left")["done"] == 1
    make_study("others", readers=(), pairs=2)
    assert admin.submit("/admin/studies/others/readers", reader="carl").status_code == 303
    assert said(admin.get("/admin/studies/others")) == ["carl reads this study, with the password of before."]
    assert reader.state("others")["total"] == 2
    admin.submit("/admin/studies/tiles/readers", reader="carl")  # twice is once
    for name in ("", "a/b", "CARL"):
        assert admin.submit("/admin/studies/tiles/readers", reader=name).status_code == 303
        assert said(admin.get("/admin/studies/tiles"))
    with database.reading() as session:
        assert len(session.scalars(select(StudyReader)).all()) == 2
        assert {user.name for user in session.scalars(select(User))} == {"anna", "carl"}


def test_an_administrator_who_reads_is_warned_of(make_study: Any, browser: Any) -> None:
    make_study()
    admin = browser("anna")
    admin.submit("/admin/studies/tiles/readers", reader="anna")
    assert "can look up what is real" in said(admin.get("/admin/studies/tiles"))[0]


def test_only_who_has_not_begun_is_taken_out_of_a_study(make_study: Any, browser: Any, database: Database) -> None:
    make_study(readers=("berta", "carl"))
    admin, berta, carl = browser("anna"), browser("berta"), browser("carl")
    berta.answer("left")
    carl.get("/studies/tiles")  # was shown something, and said nothing
    for name in ("berta", "carl"):
        admin.submit("/admin/studies/tiles/readers/remove", reader=name)
    kept, gone = said(admin.get("/admin/studies/tiles"))
    assert "berta has answers" in kept
    assert gone == "carl no longer reads this study."
    assert berta.state()["done"] == 1
    assert carl.get("/studies/tiles").status_code == 404
    with database.reading() as session:
        assert {showing.user_id for showing in session.scalars(select(Showing))} == {2}


def test_a_new_password_signs_out_and_the_old_one_is_gone(make_study: Any, browser: Any) -> None:
    make_study()
    admin, reader = browser("anna"), browser("berta")
    (password,) = PASSWORD.findall(admin.submit("/admin/users/2/password").text)
    assert reader.get("/").location == "/sign-in"
    assert browser().sign_in("berta").status_code == 401
    assert browser().sign_in("berta", password).status_code == 303


def test_who_is_disabled_is_out_at_once_until_enabled_again(make_study: Any, browser: Any, database: Database) -> None:
    make_study()
    admin, reader = browser("anna"), browser("berta")
    reader.answer("left")
    admin.submit("/admin/users/2/active", active="no")
    assert reader.get("/").location == "/sign-in"
    assert browser().sign_in("berta").status_code == 401
    assert "disabled" in admin.get("/admin/studies/tiles").text
    admin.submit("/admin/users/2/active", active="yes")
    assert reader.get("/").location == "/sign-in"  # what was signed in then stays signed out
    assert browser("berta").state()["done"] == 1
    admin.submit("/admin/users/1/active", active="no")
    assert "cannot disable yourself" in said(admin.get("/admin/users"))[-1]
    with database.reading() as session:
        assert session.get_one(User, 1).active
        assert session.scalars(select(SignIn).where(SignIn.user_id == 1)).all()


def test_another_administrator_is_added(browser: Any) -> None:
    admin = browser("anna")
    (password,) = PASSWORD.findall(admin.submit("/admin/users", user="bea").text)
    other = browser()
    other.sign_in("bea", password)
    assert other.get("/admin/users").status_code == 200
    assert admin.submit("/admin/users", user="Anna").status_code == 303
    assert "there is a user &#39;Anna&#39; already" in said(admin.get("/admin/users"))[0]
