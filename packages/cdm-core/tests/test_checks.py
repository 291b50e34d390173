"""What training and sampling are given is checked, and nothing is made to fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cdm_core import Cascade, CascadeConfig, Denoiser, SamplingConfig, StageConfig, sample
from cdm_core.checks import check_finite, check_floats, check_shape, check_values
from cdm_core.diffusion.schedule import Schedule
from cdm_core.stages.denoiser import Conditions
from cdm_core.stages.examples import check_example
from cdm_core.stages.pictures import to_uint8
from cdm_core.stages.stage import sample_stage, stage_denoiser
from cdm_core.training.prepared_examples import PreparedExamples

Stage = Callable[..., StageConfig]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def full(tiny_stage: Stage) -> StageConfig:
    """A stage of 8 px that takes everything: a low-resolution image of 4 px, two condition channels, an embedding."""
    unet = {"cond_images_channels": 2, "text_embed_dim": 3}
    return tiny_stage(unet, lowres_px=4, sampling=SamplingConfig(1, "ddim"))


def example(**changes: Any) -> dict[str, Any]:
    parts = {
        "image": torch.rand(3, 8, 8),
        "lowres": torch.rand(3, 4, 4),
        "cond_images": torch.rand(2, 8, 8),
        "embedding": torch.ones(3),
    }
    return {name: value for name, value in {**parts, **changes}.items() if value is not None}


class Given:
    """Examples that are all the same."""

    def __init__(self, one: Any) -> None:
        self.one = one

    def __getitem__(self, draw: int) -> Any:
        return self.one


WRONG: list[tuple[Any, str]] = [
    (3, "wanted a dictionary with 'image', got int"),
    ({"picture": torch.rand(3, 8, 8)}, "wanted a dictionary with 'image', got one with picture"),
    (example(image=torch.rand(1, 8, 8)), r"image: wanted the shape \(3, S, S\), got \(1, 8, 8\); convert it to RGB"),
    (example(image=torch.rand(4, 8, 8)), r"image: wanted the shape \(3, S, S\), got \(4, 8, 8\)"),
    (example(image=torch.rand(8, 8)), r"image: wanted the shape \(3, S, S\), got \(8, 8\)"),
    (example(image=torch.rand(3, 8, 12)), "wanted square images of 8 px or more, got 12 x 8"),
    (example(image=torch.rand(3, 4, 4)), "wanted square images of 8 px or more, got 4 x 4"),
    (example(image=torch.rand(3, 8, 8).numpy()), "image: wanted a torch.Tensor, got ndarray"),
    (example(image=torch.ones(3, 8, 8, dtype=torch.uint8)), "image: wanted floating-point values, got uint8; divide"),
    (example(image=torch.ones(3, 8, 8, dtype=torch.bool)), "image: wanted floating-point values, got bool"),
    (example(image=torch.linspace(0, 255, 192).reshape(3, 8, 8)), r"image: wanted .* \[0, 1\], got 0 to 255; divide"),
    (example(image=torch.linspace(-1, 1, 192).reshape(3, 8, 8)), r"got -1 to 1; add 1 and halve them"),
    (example(image=torch.full((3, 8, 8), 1.1)), r"got 1.1 to 1.1; scale or clamp them"),
    (example(image=torch.full((3, 8, 8), NAN)), "image: has values that are not finite"),
    (example(image=torch.full((3, 8, 8), INF)), "image: has values that are not finite"),
    (example(lowres=torch.rand(3, 8, 8)), r"lowres: wanted the shape \(3, 4, 4\), got \(3, 8, 8\)"),
    (example(lowres=torch.rand(3, 4, 8)), r"lowres: wanted the shape \(3, 4, 4\), got \(3, 4, 8\)"),
    (example(lowres=torch.rand(1, 4, 4)), r"lowres: wanted the shape \(3, 4, 4\), got \(1, 4, 4\)"),
    (example(lowres=torch.full((3, 4, 4), -1.0)), r"lowres: wanted values in \[0, 1\]"),
    (example(cond_images=torch.rand(2, 8, 16)), r"cond_images: wanted the shape \(2, 8, 8\), got \(2, 8, 16\)"),
    (example(cond_images=torch.rand(2, 4, 4)), r"cond_images: wanted the shape \(2, 8, 8\), got \(2, 4, 4\)"),
    (example(cond_images=torch.rand(3, 8, 8)), "takes 2 channels of cond_images, the example has 3"),
    (example(cond_images=None), "takes 2 channels of cond_images, the example has none"),
    (example(cond_images=torch.ones(2, 8, 8, dtype=torch.uint8)), "cond_images: wanted floating-point values"),
    (example(cond_images=torch.full((2, 8, 8), 255.0)), r"cond_images: wanted values in .* divide by 255"),
    (example(cond_images=torch.full((2, 8, 8), NAN)), "cond_images: has values that are not finite"),
    (example(embedding=torch.ones(4)), "takes an embedding of 3, the example has one of 4"),
    (example(embedding=torch.ones(1, 3)), r"embedding: wanted the shape \(D,\), got \(1, 3\)"),
    (example(embedding=torch.full((3,), NAN)), "embedding: has values that are not finite"),
    (example(embedding=torch.ones(3, dtype=torch.long)), "embedding: wanted floating-point values, got int64"),
    (example(embedding_given=torch.ones(3)), r"embedding_given: wanted the shape \(\), got \(3,\)"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_an_example_that_the_stage_cannot_take_is_refused(
    full: StageConfig, runs: Any, wrong: Any, message: str
) -> None:
    prepared = PreparedExamples(full, runs.settings(), Given(wrong))
    with pytest.raises(ValueError, match=rf"^example 5: .*{message}") as refused:
        prepared.check([5], finite=True)
    assert len(str(refused.value).splitlines()) == 1


def test_examples_are_refused_before_anything_is_written(full: StageConfig, tmp_path: Path, runs: Any) -> None:
    for one, held_out in ((example(image=torch.ones(3, 8, 8) * 2), None), (example(), {"image": torch.ones(1, 8, 8)})):
        validation = None if held_out is None else Given(held_out)
        with pytest.raises(ValueError, match=r"^example 0: image: wanted"):
            runs.train(full, tmp_path / "run", examples=Given(one), validation=validation)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_examples_that_end_are_refused_before_the_first_step(
    tiny_stage: Stage, tmp_path: Path, runs: Any, count: int
) -> None:
    pictures: Any = [{"image": torch.rand(3, 8, 8)} for _ in range(count)]
    with pytest.raises(ValueError, match=r"there is none \(.*\); draws count without an end, so begin again"):
        runs.train(tiny_stage(), tmp_path / "run", examples=pictures)
    assert not (tmp_path / "run").exists()


def test_a_later_example_is_checked_too_and_the_steps_before_are_kept(
    tiny_stage: Stage, tmp_path: Path, runs: Any
) -> None:
    class Bytes(Given):
        def __getitem__(self, draw: int) -> Any:
            return {"image": self.one["image"] * (255 if draw == 7 else 1)}

    stage = tiny_stage(sampling=SamplingConfig(1, "ddim"))
    with pytest.raises(ValueError, match=r"^example 7: image: wanted values in \[0, 1\]"):
        runs.train(stage, tmp_path, examples=Bytes(example()))
    assert runs.state(tmp_path)["step"] == 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_example_of_a_worker_process_is_refused_in_one_line(tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    class Grey(Given):
        def __getitem__(self, draw: int) -> Any:
            return {"image": self.one["image"][: 1 if draw == 3 else 3]}

    with pytest.raises(ValueError, match=r"^example 3: image: wanted the shape \(3, S, S\), got \(1, 8, 8\); [^\n]*$"):
        runs.train(tiny_stage(), tmp_path, runs.settings(workers=1), examples=Grey(example()))


def test_what_a_stage_takes_is_converted_to_float32_and_the_rest_is_passed_over(
    full: StageConfig, tiny_stage: Stage
) -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        given = {name: value.to(kind) for name, value in example().items()}
        checked = check_example(full, given)
        assert {value.dtype for value in checked.values()} == {torch.float32}
        assert checked["image"].equal(given["image"].float())
    unasked = example(lowres=torch.rand(1, 7, 9), cond_images=torch.ones(5, 1, dtype=torch.uint8), embedding="kidney")
    assert check_example(tiny_stage(), {**unasked, "name": "a"}).keys() == {"image"}


def test_rounding_and_noise_of_contexts_are_no_faults(full: StageConfig) -> None:
    image = torch.tensor([-1e-4, 1 + 1e-4, 0.5, 0.5]).repeat(48).reshape(3, 8, 8)
    noisy = torch.rand(2, 8, 8) + 0.5 * torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    check_example(full, example(image=image, cond_images=noisy))


def test_conditions_of_the_size_of_a_larger_image_serve_every_stage(full: StageConfig, runs: Any) -> None:
    large = example(image=torch.rand(3, 16, 16), cond_images=torch.rand(2, 16, 16))
    prepared = PreparedExamples(full, runs.settings(), Given(large))[0]
    assert prepared["cond_images"].shape == (2, 8, 8)
    with pytest.raises(ValueError, match=r"cond_images: wanted the shape \(2, 8, 8\), got \(2, 12, 12\)"):
        check_example(full, {**large, "cond_images": torch.rand(2, 12, 12)})


def test_sheets_show_examples_of_several_sizes(tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    class Sizes:
        def __getitem__(self, draw: int) -> dict[str, Tensor]:
            return {"image": torch.rand(3, 8 + 8 * (draw % 2), 8 + 8 * (draw % 2))}

    runs.train(tiny_stage(sampling=SamplingConfig(1)), tmp_path, runs.settings(steps=1), examples=Sizes())
    assert (tmp_path / "samples" / "0000001.png").exists()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_values_that_are_not_finite_are_refused_in_every_type(kind: torch.dtype, value: float) -> None:
    values = torch.zeros(4, dtype=kind)
    check_finite("x", values)
    check_values("x", values)
    values[2] = value
    for check in (check_finite, check_values):
        with pytest.raises(ValueError, match=r"^x: has values that are not finite"):
            check("x", values)
    check_values("x", values, finite=False)
    with pytest.raises(ValueError, match=r"got 0 to 3"):
        check_values("x", torch.cat((values, torch.tensor([3.0], dtype=kind))), finite=False)


def test_narrow_floats_are_checked_as_well() -> None:
    if not hasattr(torch, "float8_e5m2"):
        pytest.skip("this torch has no floats of 8 bits")
    values = torch.tensor([0.5, INF]).to(torch.float8_e5m2)
    for check in (check_finite, check_values):
        check("x", values[:1])
        with pytest.raises(ValueError, match="not finite"):
            check("x", values)
    assert check_floats("x", values[:1]).dtype == torch.float32


def test_empty_tensors_and_complex_numbers_are_no_images() -> None:
    with pytest.raises(ValueError, match="x: wanted values, got none"):
        check_values("x", torch.zeros(0, 3))
    with pytest.raises(ValueError, match="x: wanted floating-point values, got complex64"):
        check_floats("x", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"x: wanted the shape \(B,\), got \(2, 2\)"):
        check_shape("x", torch.zeros(2, 2), ("B",))


@pytest.fixture(scope="module")
def stage_model(full: StageConfig, random_unet: Callable[..., Any]) -> Cascade:
    return Cascade(CascadeConfig((full,)), [random_unet(full)])


def conditions(**changes: Any) -> dict[str, Any]:
    parts = {"lowres": torch.rand(2, 3, 4, 4), "cond_images": torch.rand(2, 2, 8, 8), "embedding": torch.ones(2, 3)}
    return {**parts, **changes}


WRONG_TO_SAMPLE: list[tuple[dict[str, Any], str]] = [
    ({"lowres": torch.rand(2, 3, 4, 8)}, r"lowres: wanted the shape \(2, 3, 4, 4\), got \(2, 3, 4, 8\)"),
    ({"lowres": torch.rand(2, 3, 8, 8)}, r"lowres: wanted the shape \(2, 3, 4, 4\)"),
    ({"lowres": torch.rand(2, 1, 4, 4)}, r"lowres: wanted the shape \(2, 3, 4, 4\)"),
    ({"lowres": torch.rand(1, 3, 4, 4)}, r"lowres: wanted the shape \(2, 3, 4, 4\)"),
    ({"lowres": torch.full((2, 3, 4, 4), NAN)}, "lowres: has values that are not finite"),
    ({"lowres": torch.rand(2, 3, 4, 4) * 255}, r"lowres: wanted values in \[0, 1\]"),
    ({"lowres": torch.ones(2, 3, 4, 4, dtype=torch.uint8)}, "lowres: wanted floating-point values, got uint8"),
    ({"cond_images": torch.rand(2, 2, 4, 4)}, r"cond_images: wanted the shape \(2, .*, 8, 8\), got \(2, 2, 4, 4\)"),
    ({"cond_images": torch.rand(2, 2, 8, 16)}, r"cond_images: wanted the shape"),
    ({"cond_images": torch.rand(1, 2, 8, 8)}, r"cond_images: wanted the shape"),
    ({"cond_images": torch.rand(2, 3, 8, 8)}, "takes 2 channels of cond_images, got 3"),
    ({"cond_images": torch.full((2, 2, 8, 8), INF)}, "cond_images: has values that are not finite"),
    ({"cond_images": torch.full((2, 2, 8, 8), 255.0)}, "cond_images: wanted values in"),
    ({"embedding": torch.ones(1, 3)}, r"embedding: wanted the shape \(2, 3\), got \(1, 3\)"),
    ({"embedding": torch.full((2, 3), NAN)}, "embedding: has values that are not finite"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_TO_SAMPLE)
def test_conditions_of_another_size_or_range_are_not_sampled_with(
    stage_model: Cascade, full: StageConfig, generators: Callable[..., list[torch.Generator]], wrong: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stage_model.sample(generators(0, 1), **conditions(**wrong))
    with pytest.raises(ValueError, match=message):
        sample_stage(stage_model.unets[0], full, generators=generators(0, 1), **conditions(**wrong))


@pytest.mark.parametrize(
    ("known", "mask", "message"),
    [
        (torch.rand(2, 3, 4, 4), torch.ones(2, 1, 8, 8), r"known: wanted the shape \(2, 3, 8, 8\)"),
        (torch.rand(2, 3, 8, 8), torch.ones(2, 1, 4, 4), r"known_mask: wanted the shape \(2, 1, 8, 8\)"),
        (torch.rand(2, 3, 8, 8), torch.ones(2, 3, 8, 8), r"known_mask: wanted the shape \(2, 1, 8, 8\)"),
        (torch.rand(2, 3, 8, 8), torch.full((2, 1, 8, 8), 2.0), r"known_mask: wanted values in \[0, 1\]"),
        (torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.bool), "known_mask: wanted floating-point"),
        (torch.full((2, 3, 8, 8), NAN), torch.zeros(2, 1, 8, 8), "known: has values that are not finite"),
        (torch.full((2, 3, 8, 8), 255.0), torch.ones(2, 1, 8, 8), r"known: wanted values in \[0, 1\]"),
    ],
)
def test_known_pixels_of_another_size_or_range_are_refused(
    stage_model: Cascade,
    full: StageConfig,
    generators: Callable[..., list[torch.Generator]],
    known: Tensor,
    mask: Tensor,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        sample_stage(
            stage_model.unets[0], full, generators=generators(0, 1), known=known, known_mask=mask, **conditions()
        )


def test_unknown_pixels_may_be_anything_finite(
    stage_model: Cascade, full: StageConfig, generators: Callable[..., list[torch.Generator]]
) -> None:
    known, mask = torch.full((2, 3, 8, 8), 255.0), torch.zeros(2, 1, 8, 8)
    options = {"generators": generators(0, 1), "known": known, "known_mask": mask, **conditions()}
    assert sample_stage(stage_model.unets[0], full, **options).isfinite().all()


def test_known_pixels_are_of_the_size_of_the_noise() -> None:
    mask = torch.ones(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"known: wanted the shape \(2, 3, 8, 8\), got \(2, 3, 4, 4\)"):
        sample(
            lambda x, t: x,
            torch.zeros(2, 3, 8, 8),
            schedule=Schedule(),
            times=1,
            known=torch.zeros(2, 3, 4, 4),
            known_mask=mask,
        )


def test_a_denoiser_does_not_stretch_its_conditions(stage_model: Cascade, full: StageConfig) -> None:
    unet, x_t, t = stage_model.unets[0], torch.zeros(2, 3, 8, 8), torch.ones(2)
    whole = stage_denoiser(unet, full, 2, lowres_noise=torch.zeros(2, 3, 8, 8), **conditions())
    assert whole(x_t, t).shape == x_t.shape
    for wrong in (
        {"cond_images": torch.rand(2, 2, 4, 4)},
        {"cond_images": torch.rand(1, 2, 8, 8)},
        {"lowres": torch.rand(2, 3, 16, 16)},
    ):
        parts = Conditions(**{"cond_images": torch.rand(2, 2, 8, 8), **wrong})
        with pytest.raises(ValueError, match=r"wanted 2 images of 8 x 8 px for this x_t"):
            Denoiser(unet, full, parts)(x_t, t)


def test_pixels_are_not_made_of_values_that_are_not_finite() -> None:
    images = torch.zeros(1, 3, 2, 2)
    images[0, 1, 0, 0] = NAN
    with pytest.raises(ValueError, match="images: has values that are not finite"):
        to_uint8(images)
