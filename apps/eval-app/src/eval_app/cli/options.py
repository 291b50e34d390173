"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Extractor = Annotated[
    str | None,
    typer.Option(
        help="'light' (EfficientNet-Lite0, offline), 'inception' (clean-fid's, as papers report), or a TorchScript "
        "file that makes (B, D) features of (B, 3, H, W) 8-bit images.",
        show_default="inception if --inception-folder is given, else light",
    ),
]
InceptionFolder = Annotated[
    Path | None, typer.Option(help="Where inception-2015-12-05.pt is, or is to be.", show_default=False)
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch Inception's file into its folder first, if it is not there.")
]
Device = Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:N'; auto takes a GPU where there is one.")]
Batch = Annotated[int, typer.Option(min=1, help="Images that the extractor gets at a time.")]
AllowFew = Annotated[
    bool, typer.Option("--allow-few", help="Allow as few images as there are features: the figure then depends on it.")
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave unreadable images out, and tell how many they are.")
]
Name = Annotated[
    str | None, typer.Option(help="What to call the generated side in reports.", show_default="as its folder or file")
]
Seed = Annotated[int, typer.Option(min=0, help="What is drawn at random is drawn from it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
