"""The settings of an installation: a folder with `study.toml`, the secret, the database and the images.

The environment goes before the files: STUDY_APP_SECRET_KEY, STUDY_APP_DATABASE_URL.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from run_folder import UsageError

SETTINGS_FILE = "study.toml"
SECRET_FILE = "secret.key"  # noqa: S105 - the name of the file
DATABASE_FILE = "study.sqlite"
IMAGES_FOLDER = "images"
LEAST_SECRET = 32
"""Smallest length of a secret, characters."""
MOST = 1 << 24
"""Largest value of any number, within the limits of times and of password hashes."""


@dataclass(frozen=True)
class Settings:
    """Settings of an installation. All but the folder and the secret are keys of `study.toml`.

    Args:
        folder: Folder of the installation.
        secret_key: Key with which cookies are signed.
        database_url: URL of a database that SQLAlchemy supports; empty: the SQLite file in the folder.
        https: Whether readers use https; cookies are then sent by https alone.
        proxies: Number of proxies in front of the server, each of which sets X-Forwarded headers.
        threads: Number of requests answered at once.
        session_idle_minutes: Time without a request after which a user has to sign in again, min.
        session_hours: Time after signing in after which a user has to sign in again, h.
        sitting_idle_minutes: Time without an answer after which a reader's sitting ends, min; the next answer begins a
            new one, and the time between does not count as response time.
        sign_in_limit_name: Limit of failed sign-ins under one name, such as '10 per 5 minutes'.
        sign_in_limit_address: Limit of failed sign-ins from one address.
        sign_in_limit_storage: Storage of the counts of failed sign-ins, as a URI of the package limits: the memory of
            each process, or for several processes redis://HOST:6379 or memcached://HOST:11211.
        upload_mib: Largest upload of images by an administrator, MiB; all other requests are small.
        import_folder: Folder, absolute or relative to the installation, from whose subfolders administrators may import
            on the site.
        argon2_time: Number of passes of argon2id for a password.
        argon2_memory_kib: Memory of argon2id, KiB.
        argon2_lanes: Number of lanes of argon2id.

    Raises:
        UsageError: A value is invalid.
    """

    folder: Path
    secret_key: str = field(repr=False)
    database_url: str = field(default="", repr=False)
    https: bool = False
    proxies: int = 0
    threads: int = 8
    session_idle_minutes: int = 120
    session_hours: int = 12
    sitting_idle_minutes: int = 30
    sign_in_limit_name: str = "10 per 5 minutes"
    sign_in_limit_address: str = "30 per 5 minutes"
    sign_in_limit_storage: str = field(default="memory://", repr=False)
    upload_mib: int = 1024
    import_folder: str = "import"
    argon2_time: int = 3
    argon2_memory_kib: int = 65536
    argon2_lanes: int = 4

    def __post_init__(self) -> None:
        for name, kind in _KEYS.items():
            value = getattr(self, name)
            if type(value) is not kind:
                raise UsageError(f"{name} is {value!r}, wanted {_KINDS[kind]}")
            least = 0 if name == "proxies" else 1
            if type(value) is int and not least <= value <= MOST:
                raise UsageError(f"{name} is {value}, wanted {least} or more, and {MOST:,} at most")
        if len(self.secret_key) < LEAST_SECRET:
            raise UsageError(f"the secret has {len(self.secret_key)} characters, wanted {LEAST_SECRET} or more")
        if self.argon2_memory_kib < 8 * self.argon2_lanes:
            raise UsageError(
                f"argon2_memory_kib is {self.argon2_memory_kib}, wanted 8 or more for each of argon2_lanes"
            )

    @property
    def images(self) -> Path:
        """The folder of the images of all studies."""
        return self.folder / IMAGES_FOLDER

    @property
    def upload_bytes(self) -> int:
        """Largest upload of images, bytes."""
        return self.upload_mib << 20

    @property
    def import_root(self) -> Path:
        """The folder from whose folders administrators may import on the site."""
        return self.folder / self.import_folder

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{(self.folder / DATABASE_FILE).absolute()}"


_KEYS: dict[str, type] = {
    setting.name: type(setting.default) for setting in fields(Settings) if setting.name not in ("folder", "secret_key")
}
_KINDS = {str: "text", int: "a whole number", bool: "true or false"}


def load_settings(folder: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings of an installation.

    Raises:
        UsageError: The folder is not an installation, a setting is invalid, or others can read the secret.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} is no installation: it has no {SETTINGS_FILE}; make one with: study-app init {folder}"
        )
    values = _read(path)
    for key in values:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_KEYS)}"
            raise UsageError(f"{path}: no such setting: {key}{hint}")
    if environment.get("STUDY_APP_DATABASE_URL"):
        values["database_url"] = environment["STUDY_APP_DATABASE_URL"]
    secret = environment.get("STUDY_APP_SECRET_KEY") or _secret(folder / SECRET_FILE)
    try:
        return Settings(folder, secret, **values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def read_text(path: Path) -> str:
    """Reads a text file, without the byte-order mark that some editors write.

    Raises:
        UsageError: The file is not text in UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML file: {error}") from None


def _secret(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"{path} is missing: put the secret back, or set STUDY_APP_SECRET_KEY")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UsageError(f"{path} can be read by others: chmod 600 {path}")
    return read_text(path).strip()
