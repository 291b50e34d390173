"""The error a user can meet; its message is one line that says what is wrong and what to do."""


class StudyError(ValueError):
    """Classifications or settings from which no result can be worked out."""


def check_share(name: str, value: float) -> None:
    """Raises a StudyError unless a share lies between 0 and 1, neither of them included."""
    if not 0 < value < 1:
        raise StudyError(f"a {name} of {value}: it lies between 0 and 1")
