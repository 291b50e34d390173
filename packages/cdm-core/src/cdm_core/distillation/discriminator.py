"""The discriminator against which a student is finished: it distinguishes the student's images from real ones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cdm_core.config import StageConfig
from cdm_core.networks.weights import seeded_weights
from cdm_core.stages.denoiser import Conditions


class Discriminator(nn.Module):
    """Convolutions without normalisation that judge every neighbourhood of an image beside what it is conditioned on.

    Every second layer halves the resolution, by kernels of 4 px: with 3 px more weights would see a pixel than its
    neighbour, and the gradient would be uneven from pixel to pixel. An embedding adds its inner product with the last
    features.

    Args:
        channels: Of an image and its conditions together.
        widths: Channels of the layers.
        embed_dim: Of the embedding; None if there is none.

    Source: Isola et al. 2017, 'Image-to-image translation', section 3.2.2 (judging patches); Miyato and Koyama 2018,
        'cGANs with projection discriminator', equation 3; Odena et al. 2016, 'Deconvolution and checkerboard
        artifacts' (kernels that the stride does not divide).
    """

    def __init__(self, channels: int, widths: Sequence[int], embed_dim: int | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            kernel, stride = (4, 2) if number % 2 else (3, 1)
            layers += [nn.Conv2d(channels, width, kernel, stride=stride, padding=1), nn.LeakyReLU(0.2)]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.verdict = nn.Conv2d(channels, 1, 3, padding=1)
        self.project = None if embed_dim is None else nn.Linear(embed_dim, channels, bias=False)

    def forward(self, images: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Returns a verdict for each neighbourhood, (B, 1, h, w): the log odds that it is real.

        Args:
            images: Images and their conditions, (B, C, H, W).
            embedding: (B, D), zero where none is given.
        """
        features = self.layers(images)
        verdict: Tensor = self.verdict(features)
        if self.project is not None and embedding is not None:
            verdict = verdict + (features * self.project(embedding)[:, :, None, None]).sum(dim=1, keepdim=True)
        return verdict


class Adversary:
    """A discriminator in training: it learns from the images that a student's step has made.

    Args:
        stage: The student's stage.
        widths: See `Discriminator`.
        learning_rate: Of its optimiser, before it falls as the student's does.
        r1: Weight of the squared gradient of the verdict on real images.
        seed: Of the weights.
        device: Device of its network.

    Source: Goodfellow et al. 2014, section 3 (the non-saturating loss); Mescheder et al. 2018, 'Which training methods
        for GANs do actually converge?', equation 9 (R1).
    """

    def __init__(
        self,
        stage: StageConfig,
        *,
        widths: Sequence[int],
        learning_rate: float,
        r1: float,
        seed: int,
        device: torch.device,
    ) -> None:
        channels = 3 + (3 if stage.lowres_px is not None else 0) + stage.unet.cond_images_channels
        with seeded_weights(seed):
            self.network = Discriminator(channels, widths, stage.unet.text_embed_dim)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.learning_rate, self.r1 = learning_rate, r1
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=learning_rate, betas=(0.0, 0.99), fused=True)

    def fools(self, images: Tensor, conditions: Conditions) -> Tensor:
        """Returns the loss of a student whose images are recognised, (B,); its gradients reach the images alone."""
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        try:
            return F.softplus(-self._verdict(images, conditions)).mean(dim=(1, 2, 3))
        finally:
            for parameter in self.network.parameters():
                parameter.requires_grad_(True)

    def learn(self, real: Tensor, fake: Tensor, conditions: Conditions, *, share: int, regularised: bool) -> Tensor:
        """Adds to the gradients of the discriminator, and returns its summed loss, ().

        Args:
            real: Images, (B, 3, H, W) in [-1, 1].
            fake: The student's, likewise.
            conditions: Of both.
            share: Examples of the whole step.
            regularised: Whether R1 is added, which takes about as long as the rest.
        """
        real, fake = real.detach().requires_grad_(regularised), fake.detach()
        verdict = self._verdict(real, conditions)
        loss = F.softplus(-verdict).mean(dim=(1, 2, 3)) + F.softplus(self._verdict(fake, conditions)).mean(
            dim=(1, 2, 3)
        )
        if regularised:
            (gradient,) = torch.autograd.grad(verdict.sum(), real, create_graph=True)
            loss = loss + self.r1 * gradient.square().sum(dim=(1, 2, 3))
        (loss.sum() / share).backward()  # type: ignore[no-untyped-call]
        return loss.detach().sum()

    def advance(self, rate: float, skip: Tensor) -> None:
        """Takes the step that the gradients ask for.

        Args:
            rate: Share of the learning rate.
            skip: 1 on the device to leave everything as it is, else 0, ().
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * rate
        self.optimiser.found_inf = skip  # type: ignore[attr-defined]
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def gradients(self) -> list[Tensor]:
        """The gradients as they are now."""
        return [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """Returns weights and moments."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Loads what `state_dict` returned."""
        self.network.load_state_dict(values["network"])
        self.optimiser.load_state_dict(values["optimiser"])

    def _verdict(self, images: Tensor, conditions: Conditions) -> Tensor:
        parts = [images, *(part for part in (conditions.lowres, conditions.cond_images) if part is not None)]
        embedding = conditions.embedding
        if embedding is not None and conditions.embedding_given is not None:
            embedding = embedding * conditions.embedding_given[:, None]
        verdict: Tensor = self.network(torch.cat(parts, dim=1), embedding)
        return verdict
