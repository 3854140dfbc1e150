"""The networks that paint as ONNX graphs for a browser, with weights of eight bits.

A browser downloads every weight, so that the large ones travel as whole numbers -127 to 127 with one step a row
(`EightBits`); products are those of single precision. `round_weights` gives the same network in PyTorch: what the page
paints is compared with that (tests), and that with the full model (``benchmarks/browser.py``).

Graphs are derived from the weights and lie in this environment, not in the repository: `shipped_graphs` exports them
once, and again whenever the weights or this module have changed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..extras import extra
from ..files import move, staged
from ..labels import CONDITIONS, CONTEXTS
from ..models.autoencoder import Autoencoder
from ..models.pretrained import (
    Drafting,
    Models,
    expected_hashes,
    load_draft,
    load_models,
    sampled_margin,
    trained_patch,
)
from ..pipelines.appearance import find_codes
from ..pipelines.config import SamplingConfig

OPSET = 20  # of ONNX
SMALL = 2**14  # weights of a layer; smaller ones stay as they are: first and last layers, which are most sensitive
IMAGE, DECODER, DRAFT, FACTS = "image.onnx", "decoder.onnx", "draft.onnx", "facts.json"
APPEARANCES = 32  # of each context, those of the first seeds
AXES = 2  # along which appearances of a context differ most
DIGITS = 4  # of a number of an appearance, after the point
ANY = torch.export.Dim.DYNAMIC


class EightBits(nn.Module):
    """Whole numbers of eight bits in place of a layer's weights: W = step * q, with a step for each row.

    Parameters
    ----------
    weight : float (rows, ...), what is rounded.

    >>> EightBits(torch.tensor([[1.0, -0.5], [0.0, 0.0]]))(torch.empty(0)).round(decimals=2)
    tensor([[ 1.0000, -0.5000],
            [ 0.0000,  0.0000]])
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        largest = weight.detach().flatten(1).abs().amax(1).clamp(min=1e-12)
        self.register_buffer("step", largest.view(-1, *[1] * (weight.ndim - 1)) / 127)
        self.register_buffer("multiples", (weight.detach() / self.step).round().to(torch.int8))

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weights, float (rows, ...); the argument, which stands in their place, is not read."""
        return self.multiples.float() * self.step


class Decoding(nn.Module):
    """The way back of an autoencoder as a network of its own, from a canvas with its margin to the picture."""

    def __init__(self, autoencoder: Autoencoder, margin: int = 0) -> None:
        super().__init__()
        self.autoencoder, self.cut = autoencoder, margin * autoencoder.factor

    def forward(self, z: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        image = self.autoencoder.decode(z)
        return image[..., self.cut : -self.cut, self.cut : -self.cut] if self.cut else image


def round_weights(network: nn.Module) -> nn.Module:
    """A copy of a network whose large weights are those of eight bits; biases, embeddings and small layers stay."""
    rounded = copy.deepcopy(network).eval()
    for layer in list(rounded.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.numel() >= SMALL:
            eight = EightBits(layer.weight)
            layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)  # or it would be exported beside them
            parametrize.register_parametrization(layer, "weight", eight, unsafe=True)  # unsafe: of another shape
    return rounded


def round_models(models: Models) -> Models:
    """The networks of a model as a browser has them, in PyTorch; the mask model, which it has not, stays."""
    return models._replace(image=round_weights(models.image), autoencoder=round_weights(models.autoencoder))


@dataclass(frozen=True)
class DraftFacts:
    """What a sampler has to know of the first stage.

    Attributes
    ----------
    mean, std : of thumbnails, see `models.thumbnails.Thumbnails`.
    gain : see `Facts`.
    noise : standard deviation of the noise on a draft that detail is painted under.
    codes : of each context the appearances (`APPEARANCES`, 16) of ``--appearance 0``, 1, ...
    axes : of each context the mean code, and then `AXES` axes of the spread, each as long as a standard deviation.
    """

    mean: list[float]
    std: list[float]
    gain: float
    noise: float
    codes: dict[str, list[list[float]]]
    axes: dict[str, list[list[float]]]

    @classmethod
    def of(cls, drafting: Drafting) -> DraftFacts:
        """Of the draft of a model."""
        thumbnails = drafting.network.thumbnails
        mean, std = (part.flatten().tolist() for part in (thumbnails.mean, thumbnails.std))
        codes, axes = {}, {}
        for context in CONTEXTS:
            drawn = [find_codes(str(seed), 0, context, drafting)[0] for seed in range(APPEARANCES)]
            middle, spread = drafting.appearance.principal_axes(context)
            codes[context], axes[context] = _rounded(drawn), _rounded([middle, *spread[:AXES]])
        return cls(mean, std, drafting.network.gain, SamplingConfig().draft_noise, codes, axes)


def _rounded(codes: list[Tensor]) -> list[list[float]]:
    return [[round(number, DIGITS) for number in code.tolist()] for code in codes]


@dataclass(frozen=True)
class Facts:
    """What a sampler has to know of the graphs.

    Attributes
    ----------
    channels : of the latents.
    patch : side of the windows of training, latent pixels; a picture no larger is one with its margin.
    gain : of the image model, see `sampling.denoiser`.
    margin : latents that are sampled around a picture; the graph of the decoder cuts them off.
    model : first digits of the weights' SHA-256.
    draft : of the first stage, None where the model has none.
    """

    channels: int
    patch: int
    gain: float
    margin: int
    model: str
    draft: DraftFacts | None = None

    @property
    def graphs(self) -> list[str]:
        """The files of `export_graphs`."""
        return [IMAGE, DECODER, *([DRAFT] if self.draft else [])]

    @classmethod
    def read(cls, text: str) -> Facts:
        """Of JSON."""
        found = json.loads(text)
        return cls(**found | {"draft": found["draft"] and DraftFacts(**found["draft"])})


def export_graphs(folder: Path, weights: str | Path | None = None) -> Facts:
    """Write the graphs of a model to a folder.

    ``image.onnx`` and, of a model of two stages, ``draft.onnx``: z float (B, C, n, n) and behind it what the network
    reads beside it (`sampling.beside`), t int64 (B,), condition int64 (B, n, n) to v float (B, C, n, n), for any number
    B of windows of any side n. ``decoder.onnx``: z float (1, C, h, w) to image float (1, 3, 8h, 8w), smaller by the
    margin on all sides.

    Parameters
    ----------
    weights : folder of an exported model; the shipped one by default.

    Raises
    ------
    ImportError
        If the packages for it are not installed.
    """
    with extra("browser"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    models = load_models(weights)
    channels, patch = models.autoencoder.latent_channels, trained_patch(weights) // models.autoencoder.factor
    drafting, margin = load_draft(weights), sampled_margin(weights)
    labels = torch.zeros(2, patch, patch, dtype=torch.int64)
    sides = {0: ANY, 2: ANY, 3: ANY}, {0: ANY}, {0: ANY, 1: ANY, 2: ANY}
    networks = {IMAGE: models.image} | ({DRAFT: drafting.network} if drafting else {})
    for file, network in networks.items():
        z = torch.zeros(2, network.latent_channels + getattr(network, "beside", 0), patch, patch)
        _export(network, folder / file, {"z": z, "t": labels[:, 0, 0], "condition": labels}, sides)
    z = torch.zeros(1, channels, patch, patch)
    _export(Decoding(models.autoencoder, margin), folder / DECODER, {"z": z}, ({2: ANY, 3: ANY},))
    hashed, draft = expected_hashes(weights)["image"], DraftFacts.of(drafting) if drafting else None
    return Facts(channels, patch, models.image.gain, margin, hashed[:12], draft)


def _export(network: nn.Module, file: Path, inputs: dict[str, Tensor], shapes: tuple[dict, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on itself
        program = torch.onnx.export(
            round_weights(network),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["output"],
            dynamic_shapes=shapes,
            verbose=False,
        )
    program.save(file)


def shipped_graphs() -> tuple[Path, Facts]:
    """Folder and facts of the shipped model's graphs, exported if this environment does not hold them yet.

    Raises
    ------
    ImportError
        If the packages for it are not installed.
    OSError
        If the environment's folder cannot be written to.
    """
    made_by = [Path(__file__).read_text("utf8"), *(version(name) for name in ("torch", "onnx", "onnxscript"))]
    key = hashlib.sha256(json.dumps([expected_hashes(), CONDITIONS, made_by], sort_keys=True).encode()).hexdigest()
    folder = Path(sys.prefix, "share/diffinfinite_lite", f"graphs-{key[:16]}")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / FACTS).exists():
            with staged(folder, "the graphs of the shipped model") as place:
                facts = export_graphs(place)
                (place / FACTS).write_text(json.dumps(asdict(facts)))
                move(place, folder, [*facts.graphs, FACTS])
    return folder, Facts.read((folder / FACTS).read_text())
