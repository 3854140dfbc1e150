"""A mask-image pair: how it is shown, written to a folder and read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.encoding import data_uri, encode, indexed
from ..data.mask_files import read_mask
from ..data.pictures import read_rgb
from ..data.qupath import write_geojson
from ..files import check_folder, check_space, move, read_json, staged
from ..labels import CELL_PX, LABEL_COLOURS, LABELS, colour_mask
from .config import in_six_codes, rename_keys
from .passport import MARGIN, TEXT, make_passport, png_info, xmp

RESULT_PER_PX = 6  # bytes of disk, at most: noise does not shrink in a PNG, and latents and timestep maps come to it
LONGEST_SHOWN = 2048  # px
NARROW = "16rem"  # of a picture and its mask: where both do not fit side by side, one stands below the other
WEBP_SIDE = 16_383  # px, the longest side that the format can hold
RESULTS = ("image.png", "mask.png", "mask.geojson", "timesteps.webp", "latents.npy", "draft.npy", "run.json")


@dataclass(frozen=True, repr=False)
class Shown:
    """A picture and its mask as a notebook displays them.

    Attributes
    ----------
    image, mask : of a `Pair`, or reduced
    context : that it was painted for
    """

    image: np.ndarray
    mask: np.ndarray
    context: str

    def __repr__(self) -> str:
        return "picture and mask, {} x {} px".format(*self.mask.shape)

    def _repr_html_(self) -> str:
        present = np.unique(self.mask).tolist()
        named = ", ".join(LABELS[n] for n in present)
        height, width = self.mask.shape
        images = "".join(
            f'<img src="{data_uri(data, kind)}" alt="{escape(alt)}" width="{width}" height="{height}" '
            f'style="flex: 1 1 {NARROW}; min-width: 0; max-width: 100%; height: auto">'
            for data, kind, alt in (
                (encode(self.image, "webp", quality=90), "webp", f"Tissue generated as {self.context}"),
                (encode(self.mask, "png"), "png", f"The mask it was painted under: {named}"),
            )
        )
        square = "display: inline-block; width: 1em; height: 1em; margin-right: .35em; border: 1px solid #888"
        legend = "".join(
            f'<span><i style="{square}; background: rgb{LABEL_COLOURS[n]}"></i>{LABELS[n]}</span>' for n in present
        )
        row = "display: flex; flex-wrap: wrap; align-items: flex-start"
        return (
            f'<div class="pair"><div style="{row}; gap: .5rem">{images}</div>'
            f'<p style="{row}; gap: .3rem .9rem; margin: .4rem 0 0">{legend}</p></div>'
        )

    def _repr_png_(self) -> bytes:
        """Both side by side, for viewers that show no HTML."""
        gap = np.full((len(self.image), 8, 3), 255, np.uint8)
        return encode(np.hstack([self.image, gap, colour_mask(self.mask)]), "png")


@dataclass(frozen=True)
class Pair:
    """A generated picture and the mask it was generated under.

    Attributes
    ----------
    image : uint8 (H, W, 3)
    mask : uint8 (H, W), labels 0..5
    timesteps : list of int arrays (H/8, W/8), noise levels still to go for each latent pixel, over the run
    run : what `run.json` holds: settings, versions, weight hashes, cost
    latents : float32 (C, H/8, W/8), what the picture was decoded from: `edit.resynthesise` keeps parts of them. Where
        the model samples a margin, it is around them, so that they are 2 `margin` higher and wider
    draft : float32 (3, H/8, W/8), standardised thumbnail that it was painted under, where the model has a draft; with
        the same margin
    """

    image: np.ndarray
    mask: np.ndarray
    timesteps: list[np.ndarray]
    run: dict
    latents: np.ndarray | None = None
    draft: np.ndarray | None = None

    @property
    def margin(self) -> int:
        """Latents around those of the picture."""
        return int(self.run.get(MARGIN, 0)) // CELL_PX

    def show(self) -> Shown:
        """Picture and mask with its legend, for a notebook: side by side, on a narrow screen under each other.

        Of pictures longer than `LONGEST_SHOWN` px a reduced copy is shown.
        """
        step = -(-max(self.mask.shape) // LONGEST_SHOWN)
        picture = np.asarray(Image.fromarray(self.image).reduce(step))
        return Shown(picture, self.mask[::step, ::step], self.run["context"])

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write image.png, mask.png, mask.geojson, timesteps.webp, latents.npy, draft.npy and run.json, all or nothing.

        The pictures carry their `passport`.

        Raises
        ------
        FileExistsError
            If the folder holds one of these files and ``force`` is not set.
        OSError
            If they cannot be written.
        """
        check_folder(folder, RESULTS, force=force)
        passport = make_passport(self.run)
        with staged(folder) as place:
            Image.fromarray(self.image).save(place / "image.png", pnginfo=png_info(passport))
            about = png_info(passport)
            about.add_text("labels", _legend())
            indexed(self.mask).save(place / "mask.png", pnginfo=about)
            write_geojson(place / "mask.geojson", [self.mask], self.mask.shape, {TEXT: passport})
            if self.timesteps:
                _animate(self.timesteps, place / "timesteps.webp", xmp(passport))
            for name, latents in (("latents", self.latents), ("draft", self.draft)):
                if latents is not None:
                    np.save(place / f"{name}.npy", latents, allow_pickle=False)
            (place / "run.json").write_text(json.dumps(self.run, indent=1) + "\n")
            move(place, Path(folder), RESULTS)

    @classmethod
    def read(cls, folder: str | Path) -> Pair:
        """A pair that `save` wrote, without its timestep maps; what its run calls otherwise has its name of today.

        One of five labels is brought to six, see `config.in_six_codes`.

        Raises
        ------
        ValueError
            If the folder holds no complete result.
        """
        folder = Path(folder)
        try:
            image, mask = read_rgb(folder / "image.png"), read_mask(folder / "mask.png")
            run, mask = in_six_codes(rename_keys(read_json(folder / "run.json")), mask)
            latents = np.load(folder / "latents.npy", allow_pickle=False)
            draft = np.load(folder / "draft.npy", allow_pickle=False) if (folder / "draft.npy").exists() else None
        except (OSError, ValueError) as error:
            raise ValueError(f"expected a result of `diffinfinite sample` in {folder}, got: {error}") from error
        return cls(image, mask, [], run, latents, draft)


def check_disk(folder: str | Path, size: tuple[int, int]) -> None:
    """Refuse a folder on a disk that cannot take a pair of (H, W) px, before it is made; see `files.check_space`."""
    check_space(folder, size[0] * size[1] * RESULT_PER_PX, f"a result of {size[0]} x {size[1]} px")


def _legend() -> str:
    return json.dumps({n: {"name": name, "colour": LABEL_COLOURS[n]} for n, name in enumerate(LABELS)})


def _animate(frames: list[np.ndarray], path: Path, about: bytes) -> None:
    """Noise levels to go as brightness, one latent pixel as 4 px at most, 12 frames a second.

    Of a canvas that is longer than a WebP may be, every second latent pixel is shown, every third, and so on.
    """
    step = -(-max(frames[0].shape) // WEBP_SIDE)
    frames = [frame[::step, ::step] for frame in frames]
    top = max(int(frame.max()) for frame in frames) + 1
    zoom = max(1, min(4, 512 // max(frames[0].shape)))
    pictures = [
        Image.fromarray(np.kron((frame.astype(int) * 255 // top).astype(np.uint8), np.ones((zoom, zoom), np.uint8)))
        for frame in frames
    ]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=83, loop=0, lossless=True, xmp=about)
