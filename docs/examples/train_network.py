"""Trains one unconditional network on crops of a folder of images, and samples it: `train_network.py IMAGES RUN`."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from cdm_core import Cascade, CascadeConfig, StageConfig, TrainingConfig, UnetConfig, load_trained, train_stage
from image_files import list_images, read_rgb


class Crops:
    """Random square crops; the crop of a draw depends on its number alone, so that a training can be resumed."""

    def __init__(self, folder: Path, side_px: int) -> None:
        self.images = [torch.from_numpy(read_rgb(path)).permute(2, 0, 1) / 255 for path in list_images(folder).paths]
        self.side_px = side_px

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw: an image (3, S, S) in [0, 1]."""
        generator = torch.Generator().manual_seed(draw)
        image = self.images[int(torch.randint(len(self.images), (), generator=generator))]
        top, left = (
            int(torch.randint(length - self.side_px + 1, (), generator=generator)) for length in image.shape[1:]
        )
        return {"image": image[:, top : top + self.side_px, left : left + self.side_px]}


def main() -> None:
    """Trains the network, or goes on with its training, and saves a cascade of it and one sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("run", type=Path, help="folder of the run; a run that is there goes on")
    parser.add_argument("--side", type=int, default=64, help="side of the network's images in pixels")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()

    unet = UnetConfig(dim=options.channels, dim_mults=(1, 2, 4), layer_attns=(False, False, True))
    stage = StageConfig(options.side, unet)
    training = TrainingConfig(steps=options.steps, batch_size=options.batch)
    for event in train_stage(stage, training, Crops(options.images, options.side), options.run, resume=True):
        if event.step % 100 == 0:
            print(f"step {event.step}: loss {event.loss:.4f}")
    network, _ = load_trained(options.run / "state.pt", stage)
    cascade = Cascade(CascadeConfig((stage,)), [network], provenance={"data": str(options.images)})
    cascade.save(options.run / "model", overwrite=True)
    (image,) = cascade.sample([torch.Generator().manual_seed(0)], steps=20)
    print(f"{options.run / 'model'}: its first sample has the shape {tuple(image.shape)}")


if __name__ == "__main__":
    main()
