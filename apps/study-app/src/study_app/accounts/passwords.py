"""Passwords: hashes by argon2id."""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from run_folder import UsageError
from study_app.settings import Settings

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""None that looks like another."""
LEAST_CHARACTERS = 10
MOST_CHARACTERS = 1000
"""Longer ones would let anyone keep the server busy."""


class Passwords:
    """Makes hashes and checks passwords against them.

    Args:
        settings: How much time and memory a hash takes.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(settings.argon2_time, settings.argon2_memory_kib, settings.argon2_lanes)
        # Checked where there is no such user, so that it takes as long as where there is one.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))

    def hash(self, password: str) -> str:
        """Returns the hash of a password, with its salt and settings."""
        return self._hasher.hash(password)

    def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether a password is that of a hash; without a hash, False after the same time."""
        try:
            self._hasher.verify(password_hash or self._nobody, password[:MOST_CHARACTERS])
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None and len(password) <= MOST_CHARACTERS

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with other settings than those of now."""
        return self._hasher.check_needs_rehash(password_hash)


def check_password(password: str) -> None:
    """Raises UsageError if a new password is too short or too long."""
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise UsageError(f"the password has {len(password)} characters, wanted {LEAST_CHARACTERS} to {MOST_CHARACTERS}")


def new_password() -> str:
    """A random password that can be read out: 79 bits in four groups of letters and digits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
