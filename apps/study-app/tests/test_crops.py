"""Crops of slides, whose colours tell places."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sqlalchemy import select

import pfid
from run_folder import UsageError
from study_app.database import CropPair, Database, Image, Item, StoredCropPlan, StudyKind
from study_app.images.crops import CropRequest, import_crops
from study_app.images.importing import ImportRequest, import_images
from study_app.images.scaled import SlideSources
from study_app.images.storing import Outcome
from study_app.settings import Settings
from study_app.studies import open_study, study_named
from wsi_tiling import SlideError

PIXELS = 16  # of a crop, as the studies of the tests have it
SHADES_UM = 2.0


@pytest.fixture
def crop(make_study: Any, settings: Settings, database: Database) -> Callable[..., Counter[Outcome]]:
    """Imports crops into a draft, and counts what became of them."""
    make_study("crops", pairs=0, opened=False)

    def run(real: Path, synthetic: Path, version: str = "v1", **how: Any) -> Counter[Outcome]:
        mpp = how.pop("unstated_mpp", None)
        request = CropRequest("crops", SlideSources((real,), (synthetic,), version, mpp), how.pop("count", 8), **how)
        events = list(import_crops(database, settings.images, request))
        assert all(event.total == request.count for event in events)
        return Counter(event.outcome for event in events if event.outcome)

    return run


def pairs_of(database: Database) -> list[tuple[Image, Image]]:
    with database.reading() as session:
        return [
            (session.get_one(Image, pair.real_image_id), session.get_one(Image, pair.synthetic_image_id))
            for pair in session.scalars(select(CropPair).order_by(CropPair.plan_id, CropPair.number))
        ]


def test_both_crops_of_a_pair_show_as_many_micrometres(
    crop: Any, draw_slide: Any, settings: Settings, database: Database
) -> None:
    """Slides of other sizes and scales: what is seen, told by the colours, is what the rows say."""
    assert crop(draw_slide("real.tiff", (200, 160), 0.25), draw_slide("drawn.tiff", (100, 90), 0.5)) == {Outcome.NEW: 8}
    pairs = pairs_of(database)
    assert len({round(real.field_um or 0) for real, _ in pairs}) > 2  # several scales
    for real, synthetic in pairs:
        assert real.field_um == synthetic.field_um
        assert PIXELS * 0.5 - 1e-9 <= (real.field_um or 0) <= 40 + 1e-9  # from the coarser pixels to the smaller slide
        for image, mpp in ((real, 0.25), (synthetic, 0.5)):
            pixels = np.asarray(PIL.Image.open(settings.images / image.file)).astype(float)
            assert pixels.shape == (PIXELS, PIXELS, 3)
            step = np.polyfit(np.arange(PIXELS), pixels[..., 0].mean(0), 1)[0] / SHADES_UM  # micrometres a column
            assert step * PIXELS == pytest.approx(image.field_um, rel=0.05)
            middle = pixels.mean((0, 1))
            place = (image.x or 0) * mpp + image.field_um / 2, (image.y or 0) * mpp + image.field_um / 2
            assert ((middle[0] - 60) / SHADES_UM, middle[1] / SHADES_UM) == pytest.approx(place, abs=0.6)


def test_the_same_plan_gives_the_same_crops_again(
    crop: Any, draw_slide: Any, settings: Settings, database: Database
) -> None:
    slides = draw_slide("real.tiff"), draw_slide("drawn.tiff", (90, 90))
    crop(*slides, count=5)
    with database.reading() as session:
        kept = session.scalars(select(StoredCropPlan)).one()
    plan = pfid.CropPlan.load(settings.images / kept.file)
    assert plan.sha256 == kept.sha256
    before = [image.sha256 for pair in pairs_of(database) for image in pair]
    assert crop(*slides, count=5) == {Outcome.KNOWN: 5}
    assert crop(*slides, count=7) == {Outcome.KNOWN: 5, Outcome.NEW: 2}
    pairs = pairs_of(database)
    assert [image.sha256 for pair in pairs for image in pair][:10] == before
    for number, (real, synthetic) in enumerate(pairs):
        for side, image in (("real", real), ("fake", synthetic)):
            planned = plan.crop(side, number)  # type: ignore[arg-type]
            assert (planned.image, *planned.xy) == pytest.approx((image.source, image.x, image.y))
    with pytest.raises(pfid.PlanError, match=r"the fake images are not those of the plan"):
        crop(slides[0], draw_slide("other.tiff"))


def test_pairs_with_glass_are_left_out_whole(crop: Any, draw_slide: Any, database: Database) -> None:
    counts = crop(draw_slide("real.tiff", (240, 100), glass=120), draw_slide("drawn.tiff"), min_tissue=0.5, count=10)
    assert counts[Outcome.NEW] == 10
    assert counts[Outcome.WHITE] > 2
    assert all((image.tissue_share or 0) >= 0.5 for pair in pairs_of(database) for image in pair)
    with database.reading() as session:
        assert len(session.scalars(select(Image.id)).all()) == 20


@pytest.mark.parametrize("kind", [StudyKind.PAIRS, StudyKind.SINGLE])
def test_crops_of_one_scale_are_shown_together(
    crop: Any, draw_slide: Any, settings: Settings, database: Database, kind: StudyKind
) -> None:
    for version in ("v1", "v2"):
        assert crop(draw_slide("real.tiff"), draw_slide(f"{version}.tiff"), version, count=6) == {Outcome.NEW: 6}
        (settings.folder.parent / "real.tiff").unlink()
    with database.writing() as session:
        study = study_named(session, "crops")
        study.kind = kind
        open_study(session, study, settings.images, now=study.created)
    with database.reading() as session:
        items = session.execute(select(Item.real_image_id, Item.synthetic_image_id).order_by(Item.position)).all()
    together = [(real.id, synthetic.id) for real, synthetic in pairs_of(database)]
    if kind is StudyKind.SINGLE:
        assert sorted(one or other for one, other in items) == sorted(each for pair in together for each in pair)
        return
    assert sorted(tuple(item) for item in items) == sorted(together)
    assert [tuple(item) for item in items] != together  # in an order of their own


def test_what_makes_no_crops(
    crop: Any, draw_slide: Any, make_study: Any, folders: Path, settings: Settings, database: Database
) -> None:
    real, drawn = draw_slide("real.tiff"), draw_slide("drawn.tiff")
    with pytest.raises(SlideError, match=r"picture\.png does not say its scale"):
        crop(real, draw_slide("picture.png"))
    assert crop(real, draw_slide("said.png"), unstated_mpp=0.5, count=1) == {Outcome.NEW: 1}
    with pytest.raises(UsageError, match="cannot be a version"):
        crop(real, drawn, "real")
    with pytest.raises(SlideError, match="no such file"):
        crop(real, real.with_name("none.tiff"), "v2")
    images = ImportRequest("crops", folders / "real", folders / "synthetic", "v2")
    with pytest.raises(UsageError, match="shows crops of slides, and no images of folders"):
        next(import_images(database, settings.images, images))
    make_study("tiles", pairs=2, opened=False)
    crops = CropRequest("tiles", SlideSources((real,), (drawn,), "v1"), 2)
    with pytest.raises(UsageError, match="shows images of folders, and no crops"):
        next(import_crops(database, settings.images, crops))


def test_a_copy_of_a_slide_is_not_taken_for_another_one(draw_slide: Any) -> None:
    real, drawn = draw_slide("real.tiff"), draw_slide("drawn.tiff")
    copy = shutil.copy(real, real.with_name("copy.tiff"))
    for sides in (((real, copy), (drawn,)), ((real,), (drawn, copy))):
        with pytest.raises(SlideError, match=r"copy\.tiff is the same slide as .*real\.tiff"):
            SlideSources(*sides, "v1")


def test_the_command_makes_a_study_of_crops(run_app: Any, draw_slide: Any, settings: Settings) -> None:
    slides = (
        "--real",
        draw_slide("real.tiff"),
        "--synthetic",
        draw_slide("drawn.tiff", (90, 90), 0.6),
        "--version",
        "v1",
    )
    words = ("import-crops", settings.folder, "--study", "crops", *slides)
    refused = run_app(*words, "--size", 88)
    assert refused.code == 1
    assert "real.tiff is smaller than a crop of 88 px at 0.6 micrometres" in refused.err
    assert refused.err.count("\n") == 1
    done = run_app(*words, "--size", 16, "--count", 3, "--seed", 4, "--title", "Crops")
    assert done.code == 0, done.err
    assert "v1: 3 new" in done.out
    assert "note: micrometres a pixel: 0.5 of real, 0.6 of v1" in done.out
    assert "3 there already" in run_app(*words, "--count", 3).out
    assert "3 pairs" in run_app("open", settings.folder, "crops").out
