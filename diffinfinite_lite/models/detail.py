r"""The detail model: the image model, reading a draft beside its noisy latents.

The draft's three channels lie on the same grid as the latents and enter the first convolution beside them. Drafts that
are generated are less than perfect, so that training blurs the true ones by noise and says by how much (cascaded
diffusion, Ho et al. 2022); sampling adds a little noise, too. For some training samples there is no draft: without one
the same weights are the paper's single stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from .draft import embedding
from .thumbnails import Thumbnails
from .unet import MaskUNet

LEVEL_WIDTH = 64  # features between the draft's noise level and the time embedding
NO_DRAFT = -1.0  # the level that says so


class Detail(MaskUNet):
    """Predicts v of latents under a condition map and, where there is one, a draft.

    Parameters
    ----------
    latent_channels, widths : as of `MaskUNet`
    """

    reads = Thumbnails.latent_channels  # channels of what it is painted under
    beside = reads + 1  # channels that it reads beside its state, see `inputs`

    def __init__(self, latent_channels: int = 8, widths: Sequence[int] = (128, 192, 256)):
        super().__init__(latent_channels, widths)
        self.config["reads_draft"] = True
        self.enter = nn.Conv2d(latent_channels + self.reads, widths[0], 3, padding=1)
        self.level = embedding(2, LEVEL_WIDTH, 4 * widths[0])

    @classmethod
    def begun(cls, image: MaskUNet) -> Self:
        """An image model that can be trained on with drafts, which change nothing yet, or what it has learnt of them.

        The weights are copies; what its ``config`` says besides is taken over.
        """
        detail = cls(image.latent_channels, image.config["widths"])
        state = {key: value.clone() for key, value in image.state_dict().items()}
        if not isinstance(image, cls):
            old = state["enter.weight"]
            state["enter.weight"] = torch.cat([old, old.new_zeros(len(old), cls.reads, 3, 3)], dim=1)
        detail.load_state_dict(detail.state_dict() | state)
        detail.config = image.config | detail.config
        return detail

    def inputs(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskUNet.inputs`.

        Parameters
        ----------
        z_t : float (B, C, h, w), noisy latents; or (B, C + `beside`, h, w): beside them the draft with its noise, and
            the standard deviation of that noise, `NO_DRAFT` where there is no draft
        """
        z_t, read = z_t[:, : self.latent_channels], z_t[:, self.latent_channels :]
        if not read.shape[1]:
            read = z_t.new_full((len(z_t), self.beside, *z_t.shape[2:]), NO_DRAFT)
        level = read[:, -1].mean(dim=(1, 2))[:, None]
        has_draft = (level >= 0).to(z_t.dtype)
        draft = read[:, :-1] * has_draft[:, :, None, None]
        time = self.time(self.phases(t)) + self.level(torch.cat([level * has_draft, has_draft], dim=1))
        return torch.cat([z_t, draft], dim=1), time
