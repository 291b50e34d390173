"""`urcdm-app export`: the tiles of a table as image files in tar shards."""

from pathlib import Path

from run_folder import FolderLock, UsageError, plain_name
from run_folder.cli.console import progress_bars, say
from urcdm.training.data import read_tiles
from urcdm.training.plan_file import read_plan
from urcdm_app.options.tiling import ShardOptions
from urcdm_app.tiling.workers import make_executor
from wsi_tiling import SHARDS_FILE, ShardSettings, TileTable, export_shards

MASK_SUFFIXES = (".png", ".tif", ".tiff")


def run_export(options: ShardOptions) -> None:
    """Writes shards.

    Raises:
        UsageError: There is no such level, it has no tiles, or shards are there already.
        SlideError: Shards that are to be resumed had other settings, a file that no export wrote is in the way, or a
            slide or a label picture is missing.
        LockedError: Another run is at work in the folder.
    """
    out, plan = options.out, read_plan(options.plan)
    levels = plan.urcdm.levels
    names = [each.name for each in levels]
    if options.level is not None and options.level not in names:
        raise UsageError(f"--level {options.level}: no such level; the plan has {', '.join(names)}")
    table = read_tiles(options.tiles)
    chosen = [number for number, name in enumerate(names) if options.level in (None, name)]
    parts: dict[int, TileTable] = {}
    for number in chosen:
        parts[number] = TileTable(table.frame[table.frame["field_l0"] == levels[number].field_l0])
        if not len(parts[number]):
            raise UsageError(
                f"{options.tiles}: no tiles of {levels[number].field_l0:g} px, for level '{names[number]}'"
            )
    slides = sorted({str(name) for part in parts.values() for name in part.frame["slide"].unique()})
    label_pictures = _label_pictures(options.masks, slides) if options.masks is not None else None
    executor = make_executor(options.workers, None, options.ray)

    left_out = 0
    with FolderLock(out), progress_bars(notes=True) as bars:
        for number in chosen:
            begun = out / names[number] / SHARDS_FILE
            if begun.exists() and not (options.resume or options.overwrite):
                raise UsageError(f"{begun.parent} holds shards; go on with --resume, or drop them with --overwrite")
        for number in chosen:
            # The nearest level above first: what a patch is enlarged from.
            above = reversed(levels[max(0, number - options.contexts) : number])
            settings = ShardSettings(
                levels[number].image_px,
                contexts=tuple((each.field_l0, each.image_px) for each in above),
                format=options.picture_format.value,
                quality=options.quality,
                compress=options.compress,
                tiles_per_shard=options.tiles_per_shard,
                seed=options.seed,
            )
            task = bars.add_task(names[number], total=None, note="")
            written = 0
            for shard in export_shards(
                parts[number],
                out / names[number],
                settings,
                masks=label_pictures,
                executor=executor,
                overwrite=options.overwrite and not options.resume,
            ):
                written += shard.tiles
                left_out += len(shard.left_out)
                bars.update(task, advance=1, total=shard.total, note=f"{written} tiles")
    say(f"{out} (shards): {', '.join(f'{len(parts[number])} tiles of {names[number]}' for number in chosen)}")
    if left_out:
        say(f"{left_out} tiles could not be read and were left out: see 'left_out' in {out / '*' / SHARDS_FILE}")


def _label_pictures(folder: Path, slides: list[str]) -> dict[str, Path]:
    """Label pictures of a folder by the names of their slides, those of `slides` spelt as there."""
    if not folder.is_dir():
        raise UsageError(f"--masks {folder}: no such folder")
    pictures: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in MASK_SUFFIXES and not path.name.startswith("."):
            first = pictures.setdefault(plain_name(path.stem), path)
            if first != path:
                raise UsageError(f"--masks {folder}: two label pictures for '{path.stem}', {first} and {path}")
    return pictures | {name: pictures[plain_name(name)] for name in slides if plain_name(name) in pictures}
