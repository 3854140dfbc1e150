"""What the models learn from: stain-normalised tiles with (pseudo-)annotations, published pairs, label maps.

Without a folder of one's own these are LC25000's training clusters, two slides of `lung-scc-atlas`, the pairs that the
paper's authors published, and simulated layouts. With one, its pictures and masks take their place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import devices
from ..data import catalog, stain
from ..data.annotate import annotate
from ..data.folders import read_folder
from ..data.layouts import layout
from ..data.stain import StainProfile
from ..data.tiles import Tile, cut, readable, to_rgb, to_tensor
from ..devices import Compute
from ..extras import extra
from ..files import check_folder
from ..labels import CELL_PX, CONTEXTS, LABELS, PROMPTS, condition_map, pool_mask
from ..models import checkpoint
from ..models.autoencoder import Autoencoder
from ..models.masks import SQUARE
from ..pipelines.config import SamplingConfig, check_mpp
from ..pipelines.masks import PATCH, SIDE, prompt
from . import fingerprint

with extra("train"):
    from accelerate import PartialState


Network = TypeVar("Network", bound=nn.Module)
Widths = tuple[int, ...]
MPP = 0.5  # um/px that one's own pictures are brought to
PATCH_PX = 224  # side of a training tile
SHARES = {"lc25000-lung": 0.7, "lung-scc-atlas": 0.25, "diffinfinite-lung": 0.05}  # of the sets in what is drawn
NECROTIC = {"HE3": 3584}  # px from the left of a slide: two fragments there are necrosis throughout
LAYOUTS = 240  # of each context
LAYOUT_MORE = 64  # cells by which a layout is wider than a window of the coarse map
LABELLED = 0.6  # share of a mask that must be labelled for the mask model to learn from it


@dataclass(frozen=True)
class Size:
    """How wide networks are that begin from random weights: channels by level, see their classes.

    ``mask`` is the model of squares, or of one's own masks at one scale, ``cells`` that of the cells under squares.
    """

    autoencoder: Widths
    image: Widths
    mask: Widths
    cells: Widths
    draft: Widths


SIZES = {
    "full": Size(
        autoencoder=(48, 96, 160), image=(128, 192, 256), mask=(48, 72, 96), cells=(32, 48, 64), draft=(64, 128, 192)
    ),
    "small": Size(
        autoencoder=(24, 48, 80), image=(48, 72, 96), mask=(32, 48, 64), cells=(24, 32, 48), draft=(48, 72, 96)
    ),
    "tiny": Size(
        autoencoder=(8, 12, 16), image=(16, 24, 32), mask=(16, 24, 32), cells=(16, 24, 32), draft=(16, 24, 32)
    ),
}  # as shipped; to try one's own pictures on a CPU; to see that everything runs


@dataclass(frozen=True)
class Setting:
    """What all recipes share.

    Attributes
    ----------
    runs : folder for checkpoints, logs and what is computed once.
    data : folder of one's own pictures (see `folders.read_folder`), or None for the public sets. A folder in it called
        after a context (adenocarcinoma, squamous, normal) says the context of its pictures.
    mpp : micrometres per pixel of the pictures in ``data``.
    class_map : labels by QuPath class, for pictures in ``data`` with a GeoJSON file.
    vae : a diffusers autoencoder (name on the hub or folder) in place of our own, or None.
    networks : how wide the networks are that begin from random weights, a name out of `SIZES`.
    omega : guidance of a teacher that its student learns to do without, see `SamplingConfig`.
    device : "cpu", "cuda"; the GPU of this process where there is one by default.
    """

    runs: Path
    data: Path | None = None
    mpp: float = MPP
    class_map: dict[str, int | str] | None = None
    vae: str | None = None
    networks: str = "full"
    omega: float = 0.0
    device: str = field(default_factory=lambda: str(PartialState().device))

    def __post_init__(self) -> None:
        check_mpp(self.mpp)
        check_folder(self.runs)
        if self.networks not in SIZES:
            raise ValueError(f"expected networks out of {', '.join(SIZES)}, got {self.networks!r}")
        SamplingConfig(omega=self.omega)  # refuses what is no guidance

    @property
    def size(self) -> Size:
        """The widths that ``networks`` names."""
        return SIZES[self.networks]

    @property
    def compute(self) -> Compute:
        """On that device, in bfloat16 where it helps."""
        return Compute(self.device, self.device != "cpu" or devices.bf16_helps())

    def place(self, model: Network) -> Network:
        """The model on that device, in the memory layout that convolutions are fastest in."""
        return model.to(self.device, memory_format=torch.channels_last)


def launched(device: str) -> tuple[str, bool]:
    """The device that this process trains on, and whether it is the first of those that `accelerate launch` started.

    Parameters
    ----------
    device : of `devices.choose_device`; one process alone trains on exactly that, several take turns with the GPUs
    """
    processes = PartialState(cpu=device == "cpu")
    here = device if processes.num_processes == 1 else str(processes.device)
    return here, processes.is_main_process


def training_tiles(setting: Setting) -> tuple[Tensor, Tensor, list[str]]:
    """Stain-normalised tiles with their (pseudo-)annotations; made once and stored in ``runs/tiles.safetensors``.

    Returns
    -------
    images uint8 (N, 224, 224, 3), masks uint8 (N, 224, 224), contexts.

    Raises
    ------
    ValueError
        If the stored tiles were made of something else (see `fingerprint`), or a folder holds no usable picture.
    """
    with PartialState().main_process_first():
        return cached_tiles(setting)


def cached_tiles(setting: Setting) -> tuple[Tensor, Tensor, list[str]]:
    """`training_tiles` in this process alone."""
    cache, origin = setting.runs / "tiles.safetensors", origin_of_tiles(setting)
    if cache.exists():
        fingerprint.check(cache, origin)
    else:
        config: dict[str, object] = {}
        if setting.data is None:
            found = list(_public_tiles())
        else:
            cuts = _cut_tiles(setting, setting.data)
            profile = stain.fit_profile([to_rgb(tile.image) for tile in cuts])
            found = [(*_processed(tile, profile), tile.context or PROMPTS[0], tile.name) for tile in cuts]
            config["stain"] = asdict(profile)
        images, masks, contexts, clusters = zip(*found, strict=True)
        tensors = {name: torch.from_numpy(np.stack(parts)) for name, parts in (("images", images), ("masks", masks))}
        checkpoint.save(cache, tensors, config | {"contexts": contexts, "clusters": clusters}, origin)
    tensors, config = checkpoint.load(cache)
    return tensors["images"], tensors["masks"], config["contexts"]


def origin_of_tiles(setting: Setting) -> dict[str, object]:
    """The fingerprint of `training_tiles`, and of `own_masks`."""
    if setting.data is None:
        return {"code": fingerprint.code(), "files": fingerprint.of_sets("tiles")}
    files = {"code": fingerprint.code(), "files": fingerprint.of_folder(setting.data)}
    return files | {"mpp": float(setting.mpp), "class_map": setting.class_map}


def _public_tiles() -> Iterator[tuple[np.ndarray, np.ndarray, str, str]]:
    for name in catalog.training_sets("tiles"):
        for whole in catalog.load(name, "train", normalised=True):
            for tile in cut(whole, PATCH_PX):
                rgb = to_rgb(tile.image)
                yield rgb, annotate(rgb, tile.context), tile.context, tile.cluster


def _cut_tiles(setting: Setting, folder: Path) -> list[Tile]:
    """The pictures of a folder at `MPP`, cut to training tiles."""
    whole = read_folder(folder, class_map=setting.class_map, mpp=setting.mpp)
    cuts = readable(whole, lambda tile: list(cut(tile, PATCH_PX, MPP)), attrgetter("name"))
    return [patch for patches in cuts for patch in patches]


def _processed(tile: Tile, profile: StainProfile) -> tuple[np.ndarray, np.ndarray]:
    """Picture in the common stain, and mask."""
    return stain.normalise(to_rgb(tile.image), profile), tile.mask.numpy()


def stain_profile(setting: Setting) -> StainProfile:
    """The stain of one's own training pictures, as `training_tiles` read it off all of them.

    Raises
    ------
    ValueError
        If the tiles are those of the public sets, which have a profile for each source.
    FileNotFoundError
        If there are no tiles yet.
    """
    found = (checkpoint.read_config(setting.runs / "tiles.safetensors") or {}).get("stain")
    if found is None:
        raise ValueError(f"expected tiles of one's own pictures in {setting.runs}, got those of the public sets")
    return StainProfile(tuple(map(tuple, found["stains"])), tuple(found["strength"]))


def held_out_tiles(setting: Setting, folder: Path) -> list[Tile]:
    """Pictures that the models did not see, processed exactly as those that they learnt from.

    Real tiles that came another way (another scale, their own stain) are told from generated ones by that alone, and a
    comparison would measure it.

    Parameters
    ----------
    setting : of the training, whose tiles lie in ``runs``; what it says of one's own pictures holds for these, too.
    folder : as ``setting.data``, with other pictures: of other patients, in the best case.

    Raises
    ------
    ValueError
        If a file in it is one that was learnt from, or as `stain_profile` and `folders.read_folder`.
    """
    profile = stain_profile(setting)
    learnt = checkpoint.read_origin(setting.runs / "tiles.safetensors") or {}
    names = {content: name for name, content in dict(learnt.get("files", {})).items()}
    for name, content in fingerprint.of_folder(folder, pictures_alone=True).items():
        if content in names:
            seen = names[content]
            raise ValueError(f"expected pictures that no model learnt from, got {name}, which it learnt from as {seen}")
    tiles = _cut_tiles(setting, folder)
    return [replace(tile, image=to_tensor(_processed(tile, profile)[0])) for tile in tiles]


@dataclass(frozen=True)
class Pictures:
    """Real pictures to crop: which set, then which cluster, then which picture of it is drawn.

    Near-duplicates count as one, or the largest cluster would be most of what is seen.

    Attributes
    ----------
    images : uint8 (N, H, W, 3) by set.
    clusters : of each set, the indices of the pictures in each cluster.
    shares : of each set in what is drawn.
    """

    images: dict[str, Tensor]
    clusters: dict[str, list[list[int]]]
    shares: dict[str, float]

    def crops(self, size: int, batch: int, mirrored: int, generator: torch.Generator) -> Tensor:
        """Random crops in a random one of eight orientations, of pictures continued by their mirror image.

        Parameters
        ----------
        mirrored : px by which each side is continued.

        Returns
        -------
        float (batch, 3, size, size) in [-1, 1]
        """

        def draw(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        names, found = list(self.images), []
        weights = torch.tensor([self.shares[name] for name in names])
        for _ in range(batch):
            name = names[int(torch.multinomial(weights, 1, generator=generator))]
            cluster = self.clusters[name][draw(len(self.clusters[name]))]
            image = self.images[name][cluster[draw(len(cluster))]].permute(2, 0, 1)[None].float() / 127.5 - 1
            whole = F.pad(image, (mirrored,) * 4, mode="reflect")[0]
            top, left = (draw(n - size + 1) for n in whole.shape[1:])
            crop = torch.rot90(whole[:, top : top + size, left : left + size], draw(4), (1, 2))
            found.append(crop.flip(2) if draw(2) else crop)
        return torch.stack(found)


def real_pictures(setting: Setting) -> Pictures:
    """What the decoder learns from: real pictures, stain-normalised; those of the public sets are read once and stored.

    Of LC25000 and the authors' real patches these are the training clusters, of the slides of `lung-scc-atlas` HE1 and
    HE3, tiles of tissue alone.

    Raises
    ------
    ValueError
        As `training_tiles`.
    """
    if setting.data:
        tiles = training_tiles(setting)[0]
        return Pictures({"own": tiles}, {"own": [[n] for n in range(len(tiles))]}, {"own": 1.0})
    cache, origin = setting.runs / "pictures.safetensors", origin_of_pictures(setting)
    with PartialState().main_process_first():
        if cache.exists():
            fingerprint.check(cache, origin)
        else:
            images, clusters = {}, {}
            for name in SHARES:
                images[name], clusters[name] = _clustered(name)
            checkpoint.save(cache, images, {"clusters": clusters}, origin)
    images, config = checkpoint.load(cache)
    return Pictures(images, config["clusters"], SHARES)


def origin_of_pictures(setting: Setting) -> dict[str, object]:
    """The fingerprint of `real_pictures`."""
    if setting.data:
        return {"code": fingerprint.code(), "tiles": fingerprint.digest(origin_of_tiles(setting))}
    return {"code": fingerprint.code(), "files": fingerprint.of_public(SHARES)}


def _clustered(name: str) -> tuple[Tensor, list[list[int]]]:
    """The real training pictures of a public set, and their indices by cluster, or one by one where it is a slide."""
    label = "tissue" if catalog.slides(name) else None
    found, side = [], 0
    clusters: dict[str, list[int]] = {}
    for tile in catalog.load(name, "train", label, kind="real image", normalised=True):
        side = side or tile.image.shape[-1]
        if tile.image.shape[1:] == (side, side):  # the last row and column of a slide are narrower
            clusters.setdefault(tile.name if label else tile.cluster, []).append(len(found))
            found.append(torch.from_numpy(to_rgb(tile.image)))
    return torch.stack(found), list(clusters.values())


@dataclass(frozen=True)
class Annotated:
    """Pictures of one size and what they show.

    Attributes
    ----------
    images : uint8 (N, H, W, 3).
    conditions : uint8 (N, H/8, W/8), see `labels.condition_map`.
    clusters : the indices of the pictures in each cluster, of which one is drawn as often as of any other.
    share : of the set in what is drawn.
    turn_stride : how far the orientations lie apart in which detail sees one picture: 1 for all eight; 4 for a quarter
        turn and its mirror image, which depends on the picture, where a cluster holds turned copies anyway.
    """

    images: Tensor
    conditions: Tensor
    clusters: list[list[int]]
    share: float = 1.0
    turn_stride: int = 1


def annotated_sets(setting: Setting) -> list[Annotated]:
    """What both stages learn from, the training tiles first: those, tissue of slides, and published pairs."""
    images, masks, contexts = cached_tiles(setting)
    conditions = torch.stack([condition_map(m, c) for m, c in zip(pool_mask(masks), contexts, strict=True)]).byte()
    if setting.data:
        return [Annotated(images, conditions, [[n] for n in range(len(images))])]
    alike: dict[str, list[int]] = {}
    for n, cluster in enumerate(checkpoint.read_config(setting.runs / "tiles.safetensors")["clusters"]):
        alike.setdefault(cluster, []).append(n)
    found = [Annotated(images, conditions, list(alike.values()), SHARES["lc25000-lung"], turn_stride=4)]
    for name in catalog.training_sets("slides"):
        images, conditions = _slide_tiles(name)
        found.append(Annotated(images, conditions, [[n] for n in range(len(images))], SHARES[name]))
    images, masks = pairs()
    each = [[n] for n in range(len(images))]
    return [*found, Annotated(images, condition_map(pool_mask(masks)).byte(), each, SHARES["diffinfinite-lung"])]


def _slide_tiles(name: str) -> tuple[Tensor, Tensor]:
    """Tiles of tissue of a set's training slides and their conditions, under pseudo-annotations.

    Nobody drew regions there; that whole fragments are necrosis is a layman's reading (`NECROTIC`).
    """
    slides = {slide.name: slide for slide in catalog.slides(name)}
    images, conditions = [], []
    for tile in catalog.load(name, "train", "tissue", kind="real image", normalised=True):
        slide, column = slides[tile.cluster], int(Path(tile.name).stem.split("_")[0])
        side = slide.tile + 2 * slide.overlap
        if tile.image.shape[1:] != (side, side):  # the last row and column of a slide are narrower
            continue
        rgb = to_rgb(tile.image)
        mask = torch.from_numpy(annotate(rgb, tile.context))
        if column * slide.tile < NECROTIC.get(slide.name, 0):
            mask[mask != LABELS.index("air")] = LABELS.index("necrosis")
        images.append(torch.from_numpy(rgb))
        conditions.append(condition_map(pool_mask(mask[None])[0], tile.context).byte())
    return torch.stack(images), torch.stack(conditions)


def pairs() -> tuple[Tensor, Tensor]:
    """Published synthetic pairs (the authors'), stain-normalised: uint8 (N, 512, 512, 3) and (N, 512, 512).

    The eight real patches stay out: they are the test of full-size reconstruction and of inpainting.
    """
    published = catalog.training_sets("pairs")
    tiles = [tile for name in published for tile in catalog.load(name, kind="synthetic image", normalised=True)]
    return torch.stack([torch.from_numpy(to_rgb(t.image)) for t in tiles]), torch.stack([t.mask for t in tiles])


def simulated_masks(count: int = LAYOUTS) -> tuple[Tensor, Tensor]:
    """So many simulated layouts of each context, 0.8 mm wide, uint8 (N, H, W), and their prompts, int64 (N,)."""
    rng, side = np.random.default_rng(0), SQUARE * SIDE + LAYOUT_MORE
    labels = [torch.from_numpy(layout(context, (side, side), rng)) for context in CONTEXTS for _ in range(count)]
    prompts = torch.cat([prompt(context, (1, count))[0] for context in CONTEXTS])
    return torch.stack(labels), prompts


def own_masks(setting: Setting) -> tuple[Tensor, Tensor]:
    """Masks of one's own pictures and their prompts, cut to patches: (N, H, W) both.

    Raises
    ------
    ValueError
        If no patch lies in a folder called after a context and has at least `LABELLED` of its pixels labelled.
    """
    whole = read_folder(setting.data, class_map=setting.class_map, mpp=setting.mpp)
    found = []
    for patches in readable(whole, lambda tile: list(cut(tile, PATCH * CELL_PX, MPP)), attrgetter("name")):
        for tile in patches:
            if tile.context and (tile.mask > 0).float().mean() >= LABELLED:
                found.append((pool_mask(tile.mask[None], CELL_PX)[0], prompt(tile.context, (PATCH, PATCH))))
    if not found:
        raise ValueError(
            f"expected masks of at least {PATCH * CELL_PX} px with {LABELLED:.0%} labelled in a folder called after a "
            f"context ({', '.join(CONTEXTS)}), found none in {setting.data}: without --data simulated ones are used"
        )
    labels, prompts = zip(*found, strict=True)
    return torch.stack(labels), torch.stack(prompts)


@torch.no_grad()
def encode_tiles(autoencoder: Autoencoder, images: Tensor, compute: Compute, batch: int = 16) -> Tensor:
    """Latents (N, C, H/8, W/8) in half precision of uint8 tiles (N, H, W, 3)."""
    out = []
    for chunk in images.split(batch):
        x = chunk.to(compute.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with compute.autocast():
            latents = autoencoder.encode(x.contiguous(memory_format=torch.channels_last))
        out.append(latents.half().cpu())
    return torch.cat(out)
