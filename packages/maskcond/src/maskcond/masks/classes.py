"""The classes of label images: numbers, names and colours."""

from dataclasses import dataclass

from maskcond.errors import MaskError

_RESERVED = ("background", "ignore")
"""Names of labels that have a special meaning in nnU-Net."""


@dataclass(frozen=True)
class MaskClass:
    """A kind of structure: its name, and its display colour (red, green, blue), each in 0 to 255."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class ClassSet:
    """The classes of a mask: class n has the number n + 1 in label images; 0 and black are the background.

    Raises:
        MaskError: There is no class, there are more than 255, or two share a name or a colour, or one is black.
    """

    classes: tuple[MaskClass, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= 255:
            raise MaskError(f"wanted 1 to 255 classes, got {len(self.classes)}")
        if len(set(self.names)) < len(self.classes):
            raise MaskError(f"two classes have the same name: {', '.join(self.names)}")
        colours = [mask_class.colour for mask_class in self.classes]
        if len({(0, 0, 0), *colours}) <= len(colours):
            raise MaskError("two classes have the same colour, or one is black, the background's")
        for name, colour in zip(self.names, colours, strict=True):
            if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
                raise MaskError(f"wanted a colour of three numbers in 0 to 255, got {colour} for '{name}'")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, in the order of their numbers."""
        return tuple(mask_class.name for mask_class in self.classes)

    def number(self, name: str) -> int:
        """The number of a class in label images.

        Raises:
            MaskError: No class has this name.
        """
        if name not in self.names:
            raise MaskError(f"unknown class '{name}'; known are {', '.join(self.names)}")
        return self.names.index(name) + 1


def check_class_names(classes: ClassSet) -> None:
    """Checks that no class has a name that nnU-Net reserves.

    'background' has to be 0; pixels of 'ignore' do not count in the loss, so that such a class is never learned.

    Raises:
        MaskError: A class has such a name.
    """
    if reserved := [name for name in classes.names if name in _RESERVED]:
        raise MaskError(
            f"a class is called '{reserved[0]}': nnU-Net keeps {' and '.join(_RESERVED)} for itself; rename it"
        )


_NUCLEI = MaskClass("nuclei", (70, 110, 250))
KUMAR = ClassSet((_NUCLEI,))
"""The nuclei of the KUMAR images, as a mask-conditioned cascade takes them."""
KUMAR_BORDER = ClassSet((_NUCLEI, MaskClass("border", (250, 190, 60))))
"""The inside and the border of nuclei, as a segmentation model learns them, see `maskcond.border_labels`."""
KIDNEY = ClassSet(
    (
        MaskClass("tubuli", (70, 110, 250)),
        MaskClass("veins and indeterminate vessels", (80, 200, 220)),
        MaskClass("arteries", (230, 70, 60)),
        MaskClass("glomeruli", (110, 200, 90)),
    )
)
"""The structures of kidney tissue."""
