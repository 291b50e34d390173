"""Users, passwords and sign-ins."""

from study_app.accounts.passwords import Passwords, check_password, new_password
from study_app.accounts.sign_ins import (
    SignInRules,
    begin_sign_in,
    end_sign_in,
    end_sign_ins,
    is_to_be_seen,
    live_sign_in,
    see,
)
from study_app.accounts.users import add_user, authenticate, is_user, set_active, set_password, user_named

__all__ = [
    "Passwords",
    "SignInRules",
    "add_user",
    "authenticate",
    "begin_sign_in",
    "check_password",
    "end_sign_in",
    "end_sign_ins",
    "is_to_be_seen",
    "is_user",
    "live_sign_in",
    "new_password",
    "see",
    "set_active",
    "set_password",
    "user_named",
]
