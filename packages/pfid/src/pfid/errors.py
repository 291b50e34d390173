"""The errors a user can meet; each message is one line that says what is wrong and what to do."""


class PfidError(ValueError):
    """Images, features, plans or settings that no figure can be worked out from."""
