"""The errors a user can meet; each message is one line that says what is wrong and what to do."""


class ConfigError(ValueError):
    """A configuration with an unknown key or a wrong value; one line."""


class CheckpointError(ValueError):
    """A model or training state that cannot be read or written, does not fit, or would be overwritten unasked."""


class TrainingError(RuntimeError):
    """A training run that cannot go on."""


class PeerError(TrainingError):
    """Another process of the same run failed; its own message gives the reason."""
