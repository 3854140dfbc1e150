r"""What an autoencoder costs: its latents, and its reconstructions by several rulers, for whichever one a user brings.

No picture of a latent diffusion model is better than what its autoencoder makes of a real one, and no model learns
latents that are mostly noise, or that say where a tile ended. Reconstructions of one set of tiles are compared with
*other* real tiles, as generated ones would be, and so are these tiles themselves: a ratio of 1 is no loss.

The latents are those of `encode`. For reconstructions the picture is continued by its mirror image, and what lies
beyond it is decoded, too, and cut off: so no border falls into the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..files import move, staged
from ..metrics import fidelity, latents, spectra
from ..metrics.features import FeatureExtractor, HandcraftedFeatures, Standardiser, efficientnet_features
from ..models.autoencoder import Autoencoder, load_diffusers
from ..models.pretrained import load_models
from .inputs import read_tiles
from .table import Table

RESULTS = ("latents.json", "latents.md")
CONTINUED, CUT = 8, 4  # latents by which a picture is mirrored, and those of them that are cut off before decoding


@dataclass(frozen=True)
class Ruler:
    """Reconstructions by one extractor.

    Attributes
    ----------
    name : of the extractor.
    distance : Fréchet distance from other real tiles over that of the tiles themselves.
    accuracy, real_accuracy : reconstructions from other real tiles by logistic regression, and the tiles from them.
    """

    name: str
    distance: float
    accuracy: float
    real_accuracy: float


@dataclass(frozen=True)
class AutoencoderReport:
    """What `measure` found.

    Attributes
    ----------
    tiles, others : how many were reconstructed, and how many they were compared with.
    unpredictable, slope, ring : of the latents, see `metrics.latents`.
    psnr : mean over tiles, dB.
    lattice : by period in px, see `metrics.spectra.lattice`, of reconstructions over that of the tiles.
    spectrum : power of reconstructions over that of the tiles, in each ring of frequencies from 1 to Nyquist.
    rulers : by extractor.
    """

    tiles: int
    others: int
    unpredictable: float
    slope: float
    ring: list[float]
    psnr: float
    lattice: dict[int, float]
    spectrum: list[float]
    rulers: list[Ruler]

    def as_json(self) -> dict:
        """As JSON takes it."""
        return asdict(self)

    def table(self) -> Table:
        """The numbers beside what a perfect autoencoder would have."""
        ring = max(self.ring, key=lambda value: abs(np.log(value)))
        worst = max(self.spectrum, key=lambda value: abs(np.log(value)))
        rows = [
            ["latents: share that the neighbours do not predict", f"{self.unpredictable:.2f}", "low"],
            ["latents: power of the lowest over the highest ring", f"{self.slope:.0f}", "high"],
            ["latents: rms near the border over that inside, worst of four", f"{ring:.2f}", "1"],
            ["reconstructions: PSNR, dB", f"{self.psnr:.1f}", "high"],
            *([f"lattice of {n} px over that of real tiles", f"{v:.2f}", "1"] for n, v in self.lattice.items()),
            ["power in a ring of frequencies over that of real tiles, worst", f"{worst:.2f}", "1"],
        ]
        for ruler in self.rulers:
            rows.append([f"{ruler.name}: Fréchet distance over real to real", f"{ruler.distance:.2f}", "1"])
            rows.append([f"{ruler.name}: told apart", f"{ruler.accuracy:.2f}", f"{ruler.real_accuracy:.2f}"])
        note = (
            f"{self.tiles} tiles, encoded and decoded, against {self.others} other real ones. The last column is what "
            "an autoencoder without loss would have; of latents, which way is easier for the model that paints them."
        )
        return Table("Autoencoder", ["number", "measured", "ideal"], rows, note)


@torch.no_grad()
def reconstruct(autoencoder: Autoencoder, tile: Tensor, device: str = "cpu") -> Tensor:
    """A tile (3, H, W) in [-1, 1] encoded and decoded without a border, rounded to bytes as a file would be.

    Raises
    ------
    ValueError : a tile that is too small to be mirrored.
    """
    beyond, factor = CONTINUED * autoencoder.factor, autoencoder.factor
    if min(tile.shape[1:]) <= beyond:
        raise ValueError(f"expected tiles of more than {beyond} px, got {tuple(tile.shape[1:])}")
    z = autoencoder.encode(pad(tile[None].to(device), (beyond,) * 4, mode="reflect"))[..., CUT:-CUT, CUT:-CUT]
    rest = (CONTINUED - CUT) * factor
    painted = autoencoder.decode(z)[0, :, rest:-rest, rest:-rest].float().cpu()
    return ((painted.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def reconstructions(autoencoder: Autoencoder, tiles: Sequence[Tensor], device: str = "cpu") -> Iterator[Tensor]:
    """Each tile as `reconstruct` makes it."""
    for tile in tiles:
        yield reconstruct(autoencoder, tile, device)


@torch.no_grad()
def measure(
    autoencoder: Autoencoder,
    tiles: Sequence[Tensor],
    others: Sequence[Tensor],
    extractors: Sequence[FeatureExtractor],
    *,
    generator: np.random.Generator,
    device: str = "cpu",
) -> tuple[AutoencoderReport, list[Tensor]]:
    """Measure an autoencoder; also the reconstructions, to look at.

    Parameters
    ----------
    tiles : images (3, H, W) in [-1, 1] of one size, one of each cluster
    others : real tiles of the same size and other clusters
    generator : of the folds of the classifier

    Raises
    ------
    ValueError : tiles that are too few, too small or not of one size.
    """
    painted_tiles = list(reconstructions(autoencoder, tiles, device))
    z = np.concatenate([autoencoder.encode(tile[None].to(device)).float().cpu().numpy() for tile in tiles])
    errors = [float((a - b).square().mean()) for a, b in zip(painted_tiles, tiles, strict=True)]
    real, painted = (spectra.power(tile.numpy() for tile in each) for each in (tiles, painted_tiles))
    rulers = [_ruler(extractor, tiles, others, painted_tiles, generator) for extractor in extractors]
    report = AutoencoderReport(
        tiles=len(tiles),
        others=len(others),
        unpredictable=latents.unpredictable_share(z),
        slope=latents.spectral_slope(z),
        ring=latents.border_ring(z),
        psnr=float(np.mean([10 * np.log10(4 / max(error, 1e-9)) for error in errors])),
        lattice=spectra.grid_energy(real, painted),
        spectrum=(spectra.rings(painted) / spectra.rings(real))[1:].tolist(),
        rulers=rulers,
    )
    return report, painted_tiles


def _ruler(
    extractor: FeatureExtractor,
    tiles: Sequence[Tensor],
    others: Sequence[Tensor],
    painted_tiles: Sequence[Tensor],
    generator: np.random.Generator,
) -> Ruler:
    features = [extractor(each) for each in (others, tiles, painted_tiles)]
    other, own, painted = map(Standardiser.fit(features[0]), features)
    seed = int(generator.integers(2**31))
    told = [fidelity.classifier_two_sample(other, x, np.random.default_rng(seed)) for x in (painted, own)]
    ratio = fidelity.frechet_distance(other, painted) / fidelity.frechet_distance(other, own)
    return Ruler(extractor.name, ratio, *told)


def measure_folder(
    folder: Path,
    *,
    vae: str | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> AutoencoderReport:
    """Measure an autoencoder on the tiles of a folder: one half is reconstructed and compared with the other.

    Parameters
    ----------
    folder : see `inputs.read_tiles`; with clusters, none of them is in both halves, and one tile of each is measured
    vae : a diffusers autoencoder (name on the hub or folder)
    weights : folder of an exported model, the shipped one by default; not asked where ``vae`` is given

    Raises
    ------
    ValueError : tiles as in `measure`, or fewer than 24 of them.
    """
    found, generator = read_tiles(folder, "real"), np.random.default_rng(seed)
    names = found.clusters or [str(n) for n in range(len(found))]
    first = [index for _, index in sorted({name: n for n, name in reversed(list(enumerate(names)))}.items())]
    if len(first) < 24:
        raise ValueError(f"expected at least 24 tiles of different clusters in {folder}, got {len(first)}")
    order = generator.permutation(first)
    tiles, others = ([found.images[int(n)] for n in half] for half in np.array_split(order, 2))
    autoencoder = load_diffusers(vae).to(device) if vae else load_models(weights, device).autoencoder
    extractors = (efficientnet_features(device=device), HandcraftedFeatures())
    return measure(autoencoder, tiles, others, extractors, generator=generator, device=device)[0]


def write(report: AutoencoderReport, folder: Path) -> Path:
    """Write ``latents.json`` and ``latents.md``; returns the latter's path."""
    with staged(folder, "a report") as place:
        (place / RESULTS[0]).write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
        (place / RESULTS[1]).write_text(report.table().markdown(), encoding="utf-8")
        move(place, folder, RESULTS)
    return folder / RESULTS[1]
