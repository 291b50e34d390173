"""The errors a user can meet; each message is one line that says what is wrong and what to do."""


class ConfigError(ValueError):
    """A configuration with an unknown key or a wrong value."""


class CheckpointError(ValueError):
    """A model or training state that cannot be read, or does not fit."""


class TrainingError(RuntimeError):
    """A training run that cannot go on."""
