"""The errors a user can meet; each message is one line that says what is wrong and what to do."""


class PfidError(ValueError):
    """Images, features, plans or settings that no figure can be worked out from."""


class ImageError(PfidError):
    """Images that cannot be read, or that do not fit together."""


class PlanError(PfidError):
    """A crop plan that cannot be made, read or followed."""


class ExtractorError(PfidError):
    """A network of features that is not there, or is not the one that was asked for."""


class FeatureError(PfidError):
    """Features or statistics that are damaged, too few, or do not fit together."""


class FigureError(PfidError):
    """Figures that cannot be read, or that mean different things and so cannot be compared."""
