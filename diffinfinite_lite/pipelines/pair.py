"""A mask-image pair: how it is shown, written to a folder and read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..data.encoding import indexed
from ..data.mask_files import read_mask
from ..data.pictures import read_rgb
from ..data.qupath import write_geojson
from ..extras import extra
from ..files import check_folder, check_space, move, read_json, staged
from ..labels import LABEL_COLOURS, LABELS
from .config import rename_keys
from .passport import TEXT, make_passport, png_info, xmp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT_PER_PX = 6  # bytes of disk, at most: noise does not shrink in a PNG, and latents and timestep maps come to it
WEBP_SIDE = 16_383  # px, the longest side that the format can hold
RESULTS = ("image.png", "mask.png", "mask.geojson", "timesteps.webp", "latents.npy", "draft.npy", "run.json")


@dataclass(frozen=True)
class Pair:
    """A generated picture and the mask it was generated under.

    Attributes
    ----------
    image : uint8 (H, W, 3)
    mask : uint8 (H, W), labels 0..4
    timesteps : list of int arrays (H/8, W/8), noise levels still to go for each latent pixel, over the run
    run : what `run.json` holds: settings, versions, weight hashes, cost
    latents : float32 (C, H/8, W/8), what the picture was decoded from: `edit.resynthesise` keeps parts of them
    draft : float32 (3, H/8, W/8), standardised thumbnail that it was painted under, where the model has a draft
    """

    image: np.ndarray
    mask: np.ndarray
    timesteps: list[np.ndarray]
    run: dict
    latents: np.ndarray | None = None
    draft: np.ndarray | None = None

    def show(self) -> Figure:
        """Picture and mask side by side with the legend, as a matplotlib figure."""
        with extra("course"):
            import matplotlib.pyplot as plt
            from matplotlib.colors import ListedColormap
            from matplotlib.patches import Patch

        colours = np.array(LABEL_COLOURS) / 255
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.5), layout="constrained")
        left.imshow(self.image)
        right.imshow(self.mask, cmap=ListedColormap(colours), vmin=0, vmax=len(LABELS) - 1, interpolation="nearest")
        present = np.unique(self.mask)
        figure.legend(
            handles=[Patch(color=colours[n], label=LABELS[n]) for n in present],
            loc="outside lower center",
            ncols=len(present),
            frameon=False,
        )
        for axis in (left, right):
            axis.set_axis_off()
        plt.close(figure)
        return figure

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

        Raises
        ------
        ValueError
            If the folder holds no complete result.
        """
        folder = Path(folder)
        try:
            image, mask = read_rgb(folder / "image.png"), read_mask(folder / "mask.png")
            run = rename_keys(read_json(folder / "run.json"))
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
