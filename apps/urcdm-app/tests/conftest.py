import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from run_folder.cli.testing import app_fixture

run_app = app_fixture("urcdm-app")

TINY_PLAN = """
[urcdm]
mpp = 0.5
levels = [
    { name = "low", field_l0 = 256, image_px = 16 },
    { name = "medium", field_l0 = 64, image_px = 16 },
    { name = "high", field_l0 = 16, image_px = 16 },
]
"""
TINY_NETWORK = """
[[networks]]
level = "{level}"
training = {{ steps = 2, batch_size = 2, sample_every = 2 }}

[networks.stage]
image_px = 16
{lowres}
sampling = {{ steps = 2, method = "dpmpp_2m" }}

[networks.stage.unet]
dim = 8
dim_mults = [1]
cond_dim = 8
layer_attns = false
layer_cross_attns = false
attn_heads = 2
attn_dim_head = 8
attend_at_middle = false
init_cross_embed = false
init_conv_kernel_size = 3
cond_images_channels = {channels}
"""


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of three tiny networks that train in a moment."""
    path = tmp_path_factory.mktemp("plan") / "tiny.toml"
    networks = [("low", "", 0), ("medium", "lowres_px = 4", 6), ("high", "lowres_px = 4", 6)]
    text = TINY_PLAN + "".join(
        TINY_NETWORK.format(level=level, lowres=lowres, channels=channels) for level, lowres, channels in networks
    )
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A purple disc on glass, 400 x 300 px, that does not say its scale."""
    y, x = np.mgrid[:300, :400]
    pixels = np.full((300, 400, 3), (242, 243, 242), np.uint8)
    disc = (x - 200) ** 2 + (y - 150) ** 2 < 120**2
    texture = np.random.default_rng(0).integers(-30, 30, (300, 400, 1))
    pixels[disc] = (np.array([160, 80, 150]) + texture)[disc].astype(np.uint8)
    path = tmp_path_factory.mktemp("picture") / "disc.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def tiles(plan: Path, picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The picture's tiles for the tiny plan, as `urcdm-app tile` leaves them; for all tests, which only read them."""
    from urcdm_app.cli import main

    folder = tmp_path_factory.mktemp("tiled") / "tiles"
    arguments = ["tile", picture, "--mpp", "0.5", "--plan", plan, "--out", folder]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["urcdm-app", *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
    return folder


@pytest.fixture(scope="session")
def model(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the tiny plan, with random weights."""
    import torch

    from cdm_core import Cascade
    from urcdm import Urcdm
    from urcdm.training.plan_file import read_plan

    tiny = read_plan(plan)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    Urcdm(tiny.urcdm, [Cascade(tiny.cascade(i)) for i in range(3)]).save(folder)
    return folder
