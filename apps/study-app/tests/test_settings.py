from pathlib import Path

import pytest

from run_folder import UsageError
from study_app.settings import SECRET_FILE, SETTINGS_FILE, Settings, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / SETTINGS_FILE).write_text(text)
    return folder


def test_what_the_file_does_not_say_has_its_default(settings: Settings) -> None:
    read = load_settings(write(settings.folder, "threads = 3\n"), {})
    assert (read.threads, read.proxies, read.https) == (3, 0, False)
    assert read.database == f"sqlite:///{settings.folder / 'study.sqlite'}"


def test_the_environment_goes_before_the_files(settings: Settings) -> None:
    write(settings.folder, 'database_url = "sqlite:///mine"')
    read = load_settings(
        settings.folder, {"STUDY_APP_DATABASE_URL": "sqlite:///ours", "STUDY_APP_SECRET_KEY": "k" * 32}
    )
    assert (read.database, read.secret_key) == ("sqlite:///ours", "k" * 32)


def test_a_byte_order_mark_is_no_part_of_the_settings(settings: Settings) -> None:
    write(settings.folder, "\ufeffthreads = 3")
    assert load_settings(settings.folder, {}).threads == 3


def test_secrets_do_not_show_when_settings_are_printed(settings: Settings) -> None:
    assert settings.secret_key not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("thread = 3", "did you mean threads?"),
        ("threads = 0", "wanted 1 or more"),
        ("threads = true", "wanted a whole number"),
        ("proxies = -1", "wanted 0 or more"),
        ("session_hours = 99999999999", "at most"),
        ('https = "yes"', "wanted true or false"),
        ("argon2_memory_kib = 8\nargon2_lanes = 2", "argon2_lanes"),
        ("threads =", "no TOML file"),
    ],
)
def test_settings_that_make_no_sense(settings: Settings, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_settings(write(settings.folder, text), {})


def test_a_secret_that_is_missing_short_or_open_to_others(settings: Settings) -> None:
    secret = settings.folder / SECRET_FILE
    secret.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        load_settings(settings.folder, {})
    secret.chmod(0o600)
    secret.write_text("short")
    with pytest.raises(UsageError, match="5 characters, wanted 32"):
        load_settings(settings.folder, {})
    secret.unlink()
    with pytest.raises(UsageError, match="STUDY_APP_SECRET_KEY"):
        load_settings(settings.folder, {})


def test_a_folder_that_is_no_installation(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="study-app init"):
        load_settings(tmp_path, {})
