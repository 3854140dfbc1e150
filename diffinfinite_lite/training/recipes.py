"""How the models are trained: data, sizes, steps. `diffinfinite train NAME` runs one of these generators.

Each yields (`Progress`, total steps), can be killed at any moment and goes on when started again. The order is
autoencoder, decoder, image, update (the image model once more, for a GPU), draft, detail (the image model
that reads a draft), draft_student and detail_student (the same in few steps), mask; decoder and image need the
autoencoder's weights, update and detail those of image, detail those of the draft, too, the students those of draft and
detail, the others need none. What they learn from is in `data`.

Every recipe has a folder of its own, which one run at a time writes. What it learnt from is part of its checkpoint, so
that a run stops where that has changed since (`fingerprint`), and `export` where the models do not belong together.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from pathlib import Path

import torch
from torch import Tensor, nn

from ..devices import Compute
from ..extras import extra
from ..files import held, staged
from ..labels import CELL_PX, LABELS, condition_map, pool_mask
from ..models import checkpoint, pretrained
from ..models.appearance import Appearance
from ..models.autoencoder import BORDERS, Autoencoder, LiteAutoencoder, load_diffusers
from ..models.detail import Detail
from ..models.draft import Draft
from ..models.efficientnet import EfficientNetLite0
from ..models.five_codes import with_air
from ..models.masks import TwoScaleMask
from ..models.pretrained import load_lite
from ..models.unet import MaskUNet
from ..pipelines.masks import PATCH, SCALE, one_hot
from ..sampling.solvers import cosine_alphas
from . import fingerprint
from .data import (
    PATCH_PX,
    Annotated,
    Setting,
    annotated_sets,
    cached_tiles,
    encode_tiles,
    origin_of_pictures,
    origin_of_tiles,
    own_masks,
    pairs,
    real_pictures,
    simulated_masks,
    training_tiles,
)
from .distillation import Distillation, Student, distillation_loss
from .loop import Loss, Optimisation, Progress, fit
from .losses import Crops, Draws, autoencoder_loss, image_loss
from .masks import MaskDraws, mask_loss
from .sharpening import Sharpener, Sharpening, sharpening_loss, smoothed
from .stages import (
    Aligned,
    Drafter,
    Draw,
    StageDraws,
    detail_draws,
    detail_loss,
    draft_draws,
    draft_loss,
    fit_mixtures,
    thumbnails,
)

with extra("train"):
    from accelerate import PartialState


Recipe = Iterator[tuple[Progress, int]]
SMALL_PX, SMALL_SHARE = 128, 0.3  # texture is learnt on smaller patches first: more of them in the same time
UPDATE_BATCH = 256  # patches of 28 x 28 latents: what keeps a GPU busy
ADOPTED = {
    "autoencoder": ("autoencoder", "decoder"),
    "image": ("image",),
    "mask": ("mask",),
}  # the files that `adopt` takes, by network
DRAFT_DRAWS = StageDraws(PATCH_PX // CELL_PX, missing=0.4, noise=0.3)
DETAIL_DRAWS = StageDraws(PATCH_PX // CELL_PX, missing=0.15, noise=0.5)
STUDENTS = {"draft_student": "draft", "detail_student": "detail"}  # whose they are
LEAST_STD = 1e-3  # of a channel of thumbnails, which may be the same in all of one's own pictures
ORIENTATIONS = 8  # of a square, in which detail sees each picture
GAINS = (0.9, 1.1)  # of a network that has learnt something: 1.03 already oversaturates
SLIDE_TILE_PX = 256  # tiles are encoded sixteen at a time, larger pictures four


def _pictures(setting: Setting) -> Tensor:
    """What the autoencoder sees: the training tiles, and the four corners of every published pair."""
    tiles = training_tiles(setting)[0]
    if setting.data:
        return tiles
    published, ends = pairs()[0], (slice(PATCH_PX), slice(-PATCH_PX, None))
    return torch.cat([tiles, *(published[:, rows, columns] for rows in ends for columns in ends)])


def total_steps(steps: int | None, usual: int) -> int:
    """How many steps a model is trained for in all, the recipe's own number where none is given.

    Raises
    ------
    ValueError
        If it is no whole number from 1.
    """
    if steps is None:
        return usual
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"expected a whole number of steps from 1, got {steps!r}")
    return steps


def recipe(usual: int) -> Callable[[Callable[[Setting, Path, int], Iterator[Progress]]], Callable[..., Recipe]]:
    """Make a recipe of a function of (setting, folder, total steps): it holds the folder of its name while it runs.

    Parameters
    ----------
    usual : total steps where none are given
    """

    def wrap(train: Callable[[Setting, Path, int], Iterator[Progress]]) -> Callable[..., Recipe]:
        @wraps(train)
        def run(setting: Setting, steps: int | None = None) -> Recipe:
            total, folder = total_steps(steps, usual), setting.runs / train.__name__
            torch.manual_seed(0)
            with held(folder) if PartialState().is_main_process else nullcontext():  # one of those that were launched
                for progress in train(setting, folder, total):
                    yield progress, total

        del run.__wrapped__  # its signature is its own: the function's has the folder
        return run

    return wrap


@recipe(usual=3000)
def autoencoder(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """L1 on pixels and edges, 16 crops of 128 px a step."""
    network = LiteAutoencoder(widths=setting.size.autoencoder, upsampling="nearest", borders="reflected")
    model = setting.place(network).train()
    loss = autoencoder_loss(model, _pictures(setting), Crops(size=128, batch=16), setting.compute)
    origin = _begun(setting, _origin_of_sets(setting))
    yield from fit(model, loss, Optimisation(steps, peak_lr=7e-4), out=folder, origin=origin)


@recipe(usual=30_000)
def decoder(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """A smooth decoder for the latents as they are, against two critics; the encoder is not touched.

    It is that of ``train autoencoder`` or ``train adopt`` in the same folder or, where there is none, the shipped one;
    a decoder that was taken over is what it begins with. Borders of pictures are in none of its crops, so that it is
    the same for latents that know them and those that do not. A step is 4 crops of 144 px on a CPU, 32 on a GPU.
    """
    network = setting.place(EfficientNetLite0.pretrained().eval().requires_grad_(False))
    if _place_of(setting.runs, "autoencoder").exists():
        own, before = _ema(setting.runs, "autoencoder"), _place_of(setting.runs, "decoder")
        taken = before.exists() and "adopted" in (checkpoint.read_origin(before) or {})
        frozen = pretrained.join_lite(own, before) if taken else _trained_autoencoder(setting)
        known_by = _encoder_known_by(setting.runs)
    else:
        frozen, known_by = load_lite(pretrained.WEIGHTS), pretrained.expected_hashes()["autoencoder"]
    frozen, pictures = setting.place(frozen), real_pictures(setting)
    started = (folder / "state.safetensors").exists()
    begun = frozen.new_decoder() if started else smoothed(frozen, pictures, setting.compute)
    channels = [tap.shape[1] for tap in network.taps(torch.zeros(1, 3, 64, 64, device=setting.device))]
    model = setting.place(Sharpener(frozen, begun, channels))
    sharpening = Sharpening(batch=4 if setting.device == "cpu" else 32)
    loss = sharpening_loss(model, pictures, network.taps, sharpening, setting.compute)
    optimisation = Optimisation(steps, 2e-4, ema_decay=0.998, save_every=100, warmup=0.01, decay=0.25)
    origin = {**origin_of_pictures(setting), "autoencoder": known_by}
    trained = model.trained_parameters()
    yield from fit(model, loss, optimisation, out=folder, parameters=trained, origin=origin)


def _origin_of_sets(setting: Setting) -> dict[str, object]:
    """The fingerprint of `_pictures`, and of all that is learnt from tiles, slides and pairs."""
    origin = {"code": fingerprint.code(), "tiles": fingerprint.digest(origin_of_tiles(setting))}
    if setting.data:
        return origin
    return origin | {kind: fingerprint.of_sets(kind) for kind in ("slides", "pairs")}


def _begun(setting: Setting, origin: dict[str, object]) -> dict[str, object]:
    """The fingerprint of a model that begins from random weights: what it learns from, and how wide it is."""
    return origin | {"networks": setting.networks}


def _latents(setting: Setting, cache: Path, orientations: int = 1) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Latents and condition maps of all sets, made once: {"q0": z, "z0": z, "c0": conditions, "z1": ...}.

    Returns
    -------
    them and their fingerprint
    """
    origin = _origin_of_sets(setting) | {"orientations": orientations, "autoencoder": _autoencoder_known_by(setting)}
    with PartialState().main_process_first():
        if cache.exists():
            fingerprint.check(cache, origin)
        else:
            checkpoint.save(cache, _encode(setting, orientations), {}, origin)
    return checkpoint.load(cache)[0], origin


def _autoencoder_known_by(setting: Setting) -> str | dict[str, str]:
    """What says which autoencoder's latents are learnt, for a fingerprint."""
    return fingerprint.of_model(setting.vae) if setting.vae else checkpoint.sha256(_ema(setting.runs, "autoencoder"))


def _encoder_known_by(runs: Path) -> str:
    """What says which encoder a folder has, whatever it sees beyond a picture: that of the model it was taken from."""
    path = _ema(runs, "autoencoder")
    return (checkpoint.read_origin(path) or {}).get("adopted") or checkpoint.sha256(path)


def _encode(setting: Setting, orientations: int) -> dict[str, Tensor]:
    """See `_latents`; the encoder sees each picture in so many of its eight orientations."""
    encoder = setting.place(load_diffusers(setting.vae) if setting.vae else _trained_autoencoder(setting)).eval()
    images, masks, contexts = cached_tiles(setting)
    conditions = torch.stack([condition_map(m, c) for m, c in zip(pool_mask(masks), contexts, strict=True)])

    def encode(images: Tensor, batch: int) -> Tensor:
        seen = (turned(images, n) for n in range(orientations))
        return torch.cat([encode_tiles(encoder, x, setting.compute, batch) for x in seen])

    latents, conditions = encode(images, 16), torch.cat([turned(conditions, n) for n in range(orientations)])
    labelled = (conditions % len(LABELS) > 0).flatten(1).any(dim=1)
    sets = {"q0": latents, "z0": latents[labelled], "c0": conditions[labelled]}
    if not setting.data:
        images, masks = pairs()
        sets["z1"], conditions = encode(images, 4), condition_map(pool_mask(masks))
        sets["c1"] = torch.cat([turned(conditions, n) for n in range(orientations)])
    return sets


def turned(pictures: Tensor, orientation: int) -> Tensor:
    """Pictures or maps (N, H, W, ...) in one of eight orientations: quarter turns, from 4 on mirrored."""
    pictures = torch.rot90(pictures, orientation % 4, (1, 2))
    return pictures.flip(2) if orientation >= 4 else pictures


def _image_loss(
    model: nn.Module, data: dict[str, Tensor], setting: Setting, patch: int, batch: int, middle: float = 0.0
) -> Loss:
    labelled = [(data[f"z{n}"], data[f"c{n}"]) for n in range(2) if len(data.get(f"z{n}", ()))]
    draws = Draws(p_unc=0.5 if labelled else 1.0, patch=patch, batch=batch, middle=middle)
    return image_loss(model, cosine_alphas(), data["q0"], labelled, draws, setting.compute)


@recipe(usual=20_000)
def image(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """Alg. 1: v-prediction on patches of 16 x 16 (32 a step), then 28 x 28 latents (12 a step), p_unc = 0.5.

    One that was taken over (`adopt`) goes on from its weights, on the larger patches alone and in smaller steps.
    """
    begun, digest = _adopted_image(setting)
    setting = setting if begun is None else replace(setting, vae=begun.config.get("vae"))
    data, origin = _latents(setting, folder / "latents.safetensors")
    if begun is None:
        model = setting.place(MaskUNet(data["q0"].shape[1], setting.size.image))
        model.config |= {"patch": PATCH_PX, "vae": setting.vae}
        origin, rate, first = _begun(setting, origin), 6e-4, SMALL_SHARE * steps
    else:
        model = setting.place(begun).train()
        origin, rate, first = origin | {"begun from": digest}, 2e-4, 0.0

    small = _image_loss(model, data, setting, SMALL_PX // CELL_PX, 32)
    large = _image_loss(model, data, setting, PATCH_PX // CELL_PX, 12)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return (small if step < first else large)(step, generator)

    yield from fit(model, loss, Optimisation(steps, peak_lr=rate), out=folder, origin=origin)


def _adopted_image(setting: Setting) -> tuple[MaskUNet | None, str]:
    """The image model that was taken over, trained on or not, and its SHA-256; None where it is to begin at random."""
    place = _place_of(setting.runs, "image")
    if not place.exists():
        return None, ""
    origin = checkpoint.read_origin(place) or {}
    digest = origin.get("begun from", origin.get("adopted", ""))
    if not digest:
        return None, ""
    wanted, autoencoder = origin.get("latents of"), _place_of(setting.runs, "autoencoder")
    found = (checkpoint.read_origin(autoencoder) or {}).get("adopted") if autoencoder.exists() else None
    if wanted and wanted != found:
        raise ValueError(
            f"expected the autoencoder in {setting.runs} whose latents the image model there has learnt "
            "(diffinfinite train adopt autoencoder), got another or none"
        )
    return _image_model(setting.runs, "image"), digest


@recipe(usual=5500)
def update(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """The image model trained on, for a GPU: 256 patches a step in all eight orientations, middle noise more often.

    That is where it had learnt least: started from real latents at 600 of 1000 steps of noise, its tiles were already
    as alike as from pure noise. `export` ships the result in the place of the image model.
    """
    model = setting.place(_image_model(setting.runs, "image"))
    setting = replace(setting, vae=model.config.get("vae"))
    data, origin = _latents(setting, folder / "latents.safetensors", orientations=8)
    origin["image"] = checkpoint.sha256(_ema(setting.runs, "image"))
    loss = _image_loss(model, data, setting, PATCH_PX // CELL_PX, UPDATE_BATCH, middle=0.5)
    yield from fit(model, loss, Optimisation(steps, peak_lr=6e-4), out=folder, origin=origin)


@recipe(usual=40_000)
def draft(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """Thumbnails of 28 x 28 from noise under labels and an appearance, from random weights; needs no autoencoder.

    A step is 16 of them on a CPU, 256 on a GPU. Codes are noised by 0.3, and 40% of the samples have none.
    """
    with PartialState().main_process_first():
        seen = annotated_sets(setting)
    small = [thumbnails(part.images) for part in seen]
    mean, std = (getattr(small[0].float(), name)(dim=(0, 2, 3)) for name in ("mean", "std"))
    spread = [max(round(v, 5), LEAST_STD) for v in std.tolist()]
    network = Draft(setting.size.draft, [round(v, 5) for v in mean.tolist()], spread)
    sets = [
        Aligned(_standardised(x, network), part.conditions, part.clusters, part.share)
        for x, part in zip(small, seen, strict=True)
    ]
    model = setting.place(Drafter(network, Appearance()))
    draws = replace(DRAFT_DRAWS, batch=_stage_batch(setting))
    loss = draft_loss(model, cosine_alphas(), sets, draws, setting.compute)
    origin, optimisation = _begun(setting, _origin_of_sets(setting)), Optimisation(steps, 6e-4, warmup=0.01, decay=0.3)
    yield from fit(model, loss, optimisation, out=folder, origin=origin)


@recipe(usual=40_000)
def detail(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """The image model trained on with a thumbnail beside its latents, 16 patches a step on a CPU, 256 on a GPU.

    It is that of ``train image`` or ``train update`` in the same folder or, where there is neither that nor an
    autoencoder, the shipped one. Noise on the thumbnail is up to 0.5, and 15% of the samples have none. The draft of
    the same folder says how thumbnails are standardised, so that it is trained first, if for a step only.
    """
    planned = _trained_draft(setting.runs).draft
    begun, encoder, begun_from = _image_to_detail(setting)
    model = setting.place(Detail.begun(begun))
    cached, origin = _detail_sets(setting, folder / "latents.safetensors", encoder, begun_from["autoencoder"])
    origin |= begun_from | {"thumbnails": _standardisation(planned)}
    sets = [replace(part, thumbnails=_standardised(part.thumbnails, planned)) for part in cached]
    draws = replace(DETAIL_DRAWS, batch=_stage_batch(setting))
    loss = detail_loss(model, cosine_alphas(), sets, draws, setting.compute)
    yield from fit(model, loss, Optimisation(steps, peak_lr=2e-4), out=folder, origin=origin)


@recipe(usual=3000)
def draft_student(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """The draft in 4 steps (`distillation`), from what `draft` and `detail` of the same folder have learnt and seen."""
    teacher = _trained_draft(setting.runs)
    sets, origin = _seen_sets(setting, teacher.draft)
    draws = replace(DRAFT_DRAWS, batch=_stage_batch(setting))
    appearance = setting.place(teacher.appearance)
    draw = draft_draws(appearance, [replace(part, latents=None) for part in sets], draws, setting.compute)
    yield from _distil(setting, folder, steps, teacher.draft, draw, origin)


@recipe(usual=3000)
def detail_student(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """The detail in 4 steps (`distillation`), 16 patches a step on a CPU, 256 on a GPU; parts as of `draft_student`."""
    teacher = _image_model(setting.runs, "detail")
    sets, origin = _seen_sets(setting, _trained_draft(setting.runs).draft)
    draw = detail_draws(sets, replace(DETAIL_DRAWS, batch=_stage_batch(setting)), setting.compute)
    yield from _distil(setting, folder, steps, teacher, draw, origin)


def _distil(
    setting: Setting, folder: Path, steps: int, teacher: MaskUNet, draw: Draw, origin: dict[str, object]
) -> Iterator[Progress]:
    """Train a student on its teacher's batches; the folder's name says whose student it is."""
    distillation = Distillation(omega=setting.omega)
    model = setting.place(Student(setting.place(teacher), distillation))
    loss = distillation_loss(model, cosine_alphas(), draw, distillation, setting.compute)
    name = STUDENTS[folder.name]
    origin |= {name: checkpoint.sha256(_ema(setting.runs, name)), "omega": setting.omega}
    optimisation = Optimisation(steps, peak_lr=1e-4, ema_decay=0.998, save_every=100, warmup=0.01, decay=0.5)
    yield from fit(model, loss, optimisation, out=folder, parameters=model.trained_parameters(), origin=origin)


def _seen_sets(setting: Setting, planned: Draft) -> tuple[list[Aligned], dict[str, object]]:
    """What `detail` has learnt from, as it was then, and the fingerprint of what follows from it."""
    cache = setting.runs / "detail" / "latents.safetensors"
    if not cache.exists():
        raise FileNotFoundError(
            f"expected what detail learns from in {cache}, found none: run diffinfinite train detail"
        )
    sets = [replace(part, thumbnails=_standardised(part.thumbnails, planned)) for part in _read_sets(cache)]
    origin = {"code": fingerprint.code(), "sets": fingerprint.digest(checkpoint.read_origin(cache))}
    return sets, origin | {"thumbnails": _standardisation(planned)}


def _standardised(small: Tensor, network: Draft) -> Tensor:
    """Thumbnails half (N, 3, h, w) in [-1, 1] as the draft model takes them."""
    return ((small.float() - network.thumbnails.mean.cpu()) / network.thumbnails.std.cpu()).half()


def _standardisation(network: Draft) -> dict[str, list[float]]:
    """How the draft model takes thumbnails, for a fingerprint."""
    return {f"{name} of thumbnails": network.config[name] for name in ("mean", "std")}


def _stage_batch(setting: Setting) -> int:
    return 16 if setting.device == "cpu" else UPDATE_BATCH


def _image_to_detail(setting: Setting) -> tuple[MaskUNet, Autoencoder, dict[str, object]]:
    """The image model that `detail` begins with, the autoencoder of its latents, and the fingerprint of both."""
    name = _last_image(setting.runs)
    if not name and not (setting.runs / "autoencoder" / "ema.safetensors").exists():
        models, shipped = pretrained.load_models(), pretrained.expected_hashes()
        begun_from = {"shipped": {"image": shipped["image"]}, "autoencoder": shipped["autoencoder"]}
        return models.image, models.autoencoder, begun_from
    name = name or "image"
    image = _image_model(setting.runs, name)
    setting = replace(setting, vae=image.config.get("vae"))
    encoder = load_diffusers(setting.vae) if setting.vae else _trained_autoencoder(setting)
    digest = checkpoint.sha256(_ema(setting.runs, name))
    return image, encoder, {name: digest, "autoencoder": _autoencoder_known_by(setting)}


def _detail_sets(
    setting: Setting, cache: Path, encoder: Autoencoder, known_by: object
) -> tuple[list[Aligned], dict[str, object]]:
    """All sets in their orientations, made once, and their fingerprint; thumbnails are not standardised yet.

    Parameters
    ----------
    known_by : what the encoder is, for the fingerprint
    """
    origin = _origin_of_sets(setting) | {"orientations": ORIENTATIONS, "autoencoder": known_by}
    with PartialState().main_process_first():
        if cache.exists():
            fingerprint.check(cache, origin)
        else:
            encoder = encoder.to(setting.device)
            found: dict[str, Tensor] = {}
            drawn = []
            for n, part in enumerate(annotated_sets(setting)):
                tensors, alike = _in_orientations(part, encoder, setting.compute)
                found |= {f"{name}{n}": tensor for name, tensor in tensors.items()}
                drawn.append({"clusters": alike, "share": part.share})
            checkpoint.save(cache, found, {"sets": drawn}, origin)
    return _read_sets(cache), origin


def _read_sets(cache: Path) -> list[Aligned]:
    """What `_detail_sets` has stored."""
    tensors, config = checkpoint.load(cache)
    return [
        Aligned(tensors[f"h{n}"], tensors[f"c{n}"], latents=tensors[f"z{n}"], **part)
        for n, part in enumerate(config["sets"])
    ]


def _in_orientations(
    part: Annotated, encoder: Autoencoder, compute: Compute
) -> tuple[dict[str, Tensor], list[list[int]]]:
    """Latents z, thumbnails h and conditions c of a set's pictures in their orientations, and its clusters of these."""
    batch = 16 if part.images.shape[1] <= SLIDE_TILE_PX else 4
    found: dict[str, list[Tensor]] = defaultdict(list)
    places: dict[int, list[int]] = defaultdict(list)
    for k in range(ORIENTATIONS):  # one after the other: a copy of all pictures is large
        seen = torch.arange(len(part.images))[k % part.turn_stride :: part.turn_stride]
        images = turned(part.images[seen], k)
        found["z"].append(encode_tiles(encoder, images, compute, batch))
        found["h"].append(thumbnails(images))
        found["c"].append(turned(part.conditions[seen], k))
        for place, picture in enumerate(seen.tolist(), sum(map(len, places.values()))):
            places[picture].append(place)
    clusters = [[place for picture in cluster for place in places[picture]] for cluster in part.clusters]
    return {name: torch.cat(parts) for name, parts in found.items()}, clusters


def _trained_draft(runs: Path) -> Drafter:
    """Draft model and encoder of appearances of a folder."""

    def build(draft: dict, appearance: dict) -> Drafter:
        return Drafter(Draft(**draft), Appearance(**appearance))

    tensors, config = checkpoint.load(_ema(runs, "draft"))
    return checkpoint.fill(build(**config), with_air(tensors), _ema(runs, "draft"))


@recipe(usual=12_000)
def mask(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """Label maps under a context prompt: from simulated layouts at two scales, from one's own masks at one.

    One's own masks are as small as pictures are, and no coarse map can be learnt from them.
    """
    if not setting.data:
        yield from _two_scales(setting, folder, steps)
        return
    labels, conditions = own_masks(setting)
    cells = SCALE * one_hot(labels)
    model = setting.place(MaskUNet(cells.shape[1], setting.size.mask))
    draws = Draws(p_unc=0.1, patch=PATCH, batch=16, single_label=0)
    loss = image_loss(model, cosine_alphas(), cells, [(cells, conditions)], draws, setting.compute)
    origin = _begun(setting, origin_of_tiles(setting))
    yield from fit(model, loss, Optimisation(steps, peak_lr=8e-4), out=folder, origin=origin)


def _two_scales(setting: Setting, folder: Path, steps: int) -> Iterator[Progress]:
    """`mask` from simulated layouts: 16 windows of the coarse map and 10 of cells a step.

    The learning rate falls in the last three tenths alone, so that a run that was stopped can be gone on with.
    """
    labels, prompts = simulated_masks()
    model = setting.place(TwoScaleMask(setting.size.mask, setting.size.cells))
    loss = mask_loss(model, cosine_alphas(), labels, prompts, MaskDraws(), setting.compute)
    origin = _begun(setting, {"code": fingerprint.code(), "files": "simulated layouts"})
    optimisation = Optimisation(steps, peak_lr=1e-3, warmup=0.02, decay=0.3)
    yield from fit(model, loss, optimisation, out=folder, origin=origin)


def adopt(name: str, runs: Path, weights: str | Path | None = None, borders: str | None = None) -> dict[str, str]:
    """Take a network over from an exported model: the autoencoder, the image model, or the model of masks.

    `image` goes on from an image model that was taken over; the others are used as they are. What tissue they were
    trained on is another question: measure on your own pictures whether they will do.

    Parameters
    ----------
    name : "autoencoder", with the decoder that was trained after it where there is one; "image"; or "mask".
    runs : folder of the model in the making.
    weights : folder of the other model; the shipped one by default.
    borders : of an autoencoder, what it is to see beyond pictures from now on (`models.autoencoder`), if not the same
        as before. Weights and standardisation stay: with "reflected" the latents lose their ring and, with it, some of
        their unit variance, so that an image model has to be trained on.

    Returns
    -------
    dict of file name (without suffix) to its SHA-256 in the other model

    Raises
    ------
    ValueError
        If the name is another one, a file was changed, or the model has none of that name.
    FileExistsError
        If there is such a network in ``runs``.
    """
    if name not in ADOPTED:
        raise ValueError(f"expected a network out of {', '.join(ADOPTED)}, got {name!r}")
    if borders is not None and (name != "autoencoder" or borders not in BORDERS):
        raise ValueError(f"expected borders of an autoencoder out of {', '.join(BORDERS)}, got {borders!r} of {name}")
    hashes = pretrained.expected_hashes(weights)
    if name not in hashes:
        raise ValueError(f"expected a model with a network {name} in {pretrained.model_folder(weights)}, got none")
    taken = {part: hashes[part] for part in ADOPTED[name] if part in hashes}
    pretrained.check_hashes(pretrained.model_folder(weights), taken)
    for part in ADOPTED[name]:
        if _place_of(runs, part).exists():
            raise FileExistsError(f"expected no {part} in {runs}, found one: take another folder, or train it on")
    for part, digest in taken.items():
        tensors, config = checkpoint.load(pretrained.model_folder(weights) / f"{part}.safetensors")
        config |= {"borders": borders} if borders and part == name else {}
        origin = {"adopted": digest} | ({"latents of": hashes.get("autoencoder")} if part == "image" else {})
        with held(runs / part):
            checkpoint.save(_place_of(runs, part), tensors, config, origin)
    return taken


def export(runs: Path, weights: Path, gain: float = 1.0) -> dict[str, str]:
    """Copy the averaged weights in half precision to a folder and write their SHA-256 beside them.

    Nothing changes in the folder before all of it is written. What `update` made of the image model takes its place. A
    decoder that was trained on its own and students are files of their own; a model on a diffusers autoencoder has none
    of ours to copy.

    Parameters
    ----------
    gain : of the image model when it is sampled, see `sampling.denoiser`

    Returns
    -------
    dict of file name (without suffix) to SHA-256

    Raises
    ------
    ValueError
        If the gain is out of `GAINS`, or a model was trained on another one than the one that lies beside it now.
    """
    if not GAINS[0] <= gain <= GAINS[1]:
        raise ValueError(f"expected a gain from {GAINS[0]} to {GAINS[1]}, got {gain}")
    _check_belonging(runs)
    files = _detail_files(runs) if (runs / "detail" / "ema.safetensors").exists() else _single_stage_files(runs)
    image, config = files["image"]
    own = {key: value for key, value in config.items() if key != "gain"}  # one that it began with was another model's
    files["image"] = image, own if gain == 1 else own | {"gain": gain}
    hashes = {}
    with staged(weights, "a model") as place:
        for name in sorted(files):
            checkpoint.save(place / f"{name}.safetensors", *files[name])
            hashes[name] = checkpoint.sha256(place / f"{name}.safetensors")
        (place / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
        for name in (*(f"{name}.safetensors" for name in hashes), "hashes.json"):
            os.replace(place / name, weights / name)
    return hashes


def _single_stage_files(runs: Path) -> dict[str, tuple[dict[str, Tensor], dict]]:
    """Tensors and configurations of a model without a draft, by the name of their file."""
    image, config = checkpoint.load(_ema(runs, _last_image(runs) or "image"))
    files = {"image": (image, config), "mask": checkpoint.load(runs / "mask" / "ema.safetensors")}
    if not config.get("vae"):
        files["autoencoder"] = checkpoint.load(runs / "autoencoder" / "ema.safetensors")
        if (runs / "decoder" / "ema.safetensors").exists():
            files["decoder"] = _decoder(runs)
    return files


def _detail_files(runs: Path) -> dict[str, tuple[dict[str, Tensor], dict]]:
    """Those of a model in two stages; what `detail` took from the shipped model is copied from there."""
    drafter = _trained_draft(runs)
    tiles, config = checkpoint.load(runs / "tiles.safetensors")
    fit_mixtures(drafter.appearance, _standardised(thumbnails(tiles["images"]), drafter.draft), config["contexts"])
    parts = {"draft": drafter.draft, "appearance": drafter.appearance}
    if not _begun_from_shipped(runs):
        files = _single_stage_files(runs)
    else:
        of_others = "image", "draft"  # of each the student, too
        shipped = [name for name in pretrained.expected_hashes() if not name.startswith(of_others)]
        files = {name: checkpoint.load(pretrained.WEIGHTS / f"{name}.safetensors") for name in shipped}
        if (runs / "mask" / "ema.safetensors").exists():
            files["mask"] = checkpoint.load(runs / "mask" / "ema.safetensors")
    files["image"] = checkpoint.load(runs / "detail" / "ema.safetensors")
    for file, recipe in (("draft_student", "draft_student"), ("image_student", "detail_student")):
        if _place_of(runs, recipe).exists():
            tensors, config = checkpoint.load(_place_of(runs, recipe))
            kept = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
            files[file] = kept, config
    return files | {name: (_halved(part.state_dict()), part.config) for name, part in parts.items()}


def _halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}


def _decoder(runs: Path) -> tuple[dict[str, Tensor], dict]:
    tensors, config = checkpoint.load(runs / "decoder" / "ema.safetensors")
    config.pop("borders", None)  # they are the encoder's
    return {key: value for key, value in tensors.items() if key.startswith("decoder.")}, config


def _begun_from_shipped(runs: Path) -> bool:
    """Whether `detail` was trained on from the shipped model, and not from one that lies beside it."""
    return "shipped" in (checkpoint.read_origin(_ema(runs, "detail")) or {})


def _check_belonging(runs: Path) -> None:
    """Refuse models that do not belong together, of those that `export` would put into one folder."""
    if not (runs / "detail" / "ema.safetensors").exists() or not _begun_from_shipped(runs):
        follows = [("image", "autoencoder"), ("decoder", "autoencoder"), ("update", "image")]
        for after, before in [*follows, *(("detail", name) for name in ("autoencoder", "image", "update"))]:
            _check_follows(runs, after, before)
    if (runs / "detail" / "ema.safetensors").exists():
        _check_detail(runs)
        for student, teacher in STUDENTS.items():
            _check_follows(runs, student, teacher)


def _check_detail(runs: Path) -> None:
    """Refuse a detail model beside a draft with other thumbnails, or tiles that the draft was not trained on."""
    origin = checkpoint.read_origin(_ema(runs, "detail")) or {}
    drawn = checkpoint.read_origin(_ema(runs, "draft")) or {}
    wanted = origin.get("thumbnails")
    if wanted and wanted != _standardisation(_trained_draft(runs).draft):
        raise ValueError(
            f"expected the draft in {runs / 'draft'} to take thumbnails as {runs / 'detail'} learnt them, but it is of "
            "other pictures: train detail again in a new folder, beside a copy of draft"
        )
    tiles = checkpoint.read_origin(runs / "tiles.safetensors")
    if tiles and drawn and drawn["tiles"] != fingerprint.digest(tiles):
        raise ValueError(f"expected tiles.safetensors in {runs} to be what the draft was trained on, found others")
    shipped = pretrained.expected_hashes()
    if _begun_from_shipped(runs) and origin["autoencoder"] != shipped["autoencoder"]:
        raise ValueError(
            f"expected the model in {runs / 'detail'} to follow from the shipped one, but that is another since: train "
            "detail again in a new folder"
        )


def _check_follows(runs: Path, after: str, before: str) -> None:
    """Refuse a model that was trained on another one than the one that lies beside it now."""
    if not (runs / after / "ema.safetensors").exists():
        return
    found = (checkpoint.read_origin(runs / after / "ema.safetensors") or {}).get(before)
    if after == "decoder" and found == _encoder_known_by(runs):
        return
    if isinstance(found, str) and found != checkpoint.sha256(_ema(runs, before)):  # a dict: a model of diffusers
        raise ValueError(
            f"expected the model in {runs / after} to follow from the one in {runs / before}, but that was trained on "
            f"since: train {after} again in a new folder, beside a copy of {before}"
        )


def _last_image(runs: Path) -> str:
    """The recipe that trained the image model last, of a single stage; "" where there is none."""
    return next((name for name in ("update", "image") if _place_of(runs, name).exists()), "")


def _image_model(runs: Path, name: str) -> MaskUNet:
    return pretrained.load_unet(_ema(runs, name))


def _place_of(runs: Path, name: str) -> Path:
    return runs / name / "ema.safetensors"


def _ema(runs: Path, name: str) -> Path:
    """The averaged weights that a recipe made."""
    path = _place_of(runs, name)
    if not path.exists():
        kind = "autoencoder" if name == "autoencoder" else f"{name} model"
        article = "an" if kind[0] in "aeiou" else "a"
        raise FileNotFoundError(f"expected {article} {kind} in {path.parent}: run diffinfinite train {name}")
    return path


def _trained_autoencoder(setting: Setting) -> LiteAutoencoder:
    return checkpoint.load_weights(_ema(setting.runs, "autoencoder"), LiteAutoencoder)
