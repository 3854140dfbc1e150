"""An exported model: its folder, the hashes of its files, and the networks loaded from it.

`diffinfinite train export` writes such a folder, a ``NAME.safetensors`` for each network and ``hashes.json`` with the
SHA-256 of each. A model in two stages (`draft`, `detail`) has ``draft`` and ``appearance`` among them, and an image
model that reads drafts; it may have a student of each, which does the same in few steps (``draft_student``,
``image_student``). ``weights`` names the folder everywhere; None stands for the model that is shipped in this
package, wherever the package is installed.
"""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..files import read_json
from . import checkpoint
from .appearance import Appearance
from .autoencoder import Autoencoder, LiteAutoencoder, load_diffusers, margin_of
from .checkpoint import load_weights
from .detail import Detail
from .draft import Draft
from .five_codes import TABLES, knows_air, with_air
from .masks import TwoScaleMask
from .unet import MaskUNet

WEIGHTS = Path(__file__).parents[1] / "weights"
LOADED = 8  # models that are kept in memory, of several folders, states of these, and devices
NEEDED = ("image", "mask")  # networks that every model has
STUDENTS = ("image_student", "draft_student")
SHA256 = re.compile("[0-9a-f]{64}")
EXPORT_AGAIN = "install or export the model again"


class Models(NamedTuple):
    """The networks of one exported model but those of the draft, on one device and in evaluation mode.

    Attributes
    ----------
    autoencoder : pictures to latents and back.
    image : predicts v of latents under conditions.
    mask : predicts v of one-hot label maps under a context, at two scales or, in earlier models, at one.
    """

    autoencoder: Autoencoder
    image: MaskUNet
    mask: MaskUNet | TwoScaleMask


class Drafting(NamedTuple):
    """What a model in two stages has besides.

    Attributes
    ----------
    network : predicts v of thumbnails under conditions and an appearance.
    appearance : codes of pictures, and where they are drawn from.
    """

    network: Draft
    appearance: Appearance


class Students(NamedTuple):
    """What paints both stages in few steps.

    Attributes
    ----------
    image : takes the place of `Models.image`.
    draft : takes the place of `Drafting.network`.
    """

    image: MaskUNet
    draft: Draft


def model_folder(weights: str | Path | None = None) -> Path:
    """The folder of a model, that of the shipped one for None."""
    return WEIGHTS if weights is None else Path(weights)


def expected_hashes(weights: str | Path | None = None) -> dict[str, str]:
    """SHA-256 of every weight file of a model by name, as the export wrote them down.

    Raises
    ------
    ValueError
        If the folder holds no exported model, or ``hashes.json`` is not what the export wrote.
    OSError
        If ``hashes.json`` must not be read.
    """
    file = model_folder(weights) / "hashes.json"
    try:
        found = read_json(file)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"expected a model in {file.parent} (diffinfinite train export writes one), found no hashes.json"
        ) from None
    except OSError as error:
        raise OSError(f"expected a file that can be read at {file}, got: {error.strerror}") from error
    except ValueError:  # no JSON, or bytes that are no text
        raise ValueError(f"{_expected_in(file)}, got no JSON: {EXPORT_AGAIN}") from None
    if not isinstance(found, dict) or not all(_is_hash(name, value) for name, value in found.items()):
        raise ValueError(f"{_expected_in(file)}, got {str(found)[:80]}: {EXPORT_AGAIN}")
    if "image_update" in found:
        raise ValueError(
            f"expected the image model in {file.parent} to be one file, got another with it, image_update, which this "
            f"version does not read: {EXPORT_AGAIN}"
        )
    missing = [name for name in NEEDED if name not in found]
    if missing:
        named = ", ".join(found) or "none"
        raise ValueError(f"{_expected_in(file)}, among them {' and '.join(NEEDED)}, got {named}: {EXPORT_AGAIN}")
    return found


def _expected_in(file: Path) -> str:
    return f"expected SHA-256 hashes of weight files by name in {file}"


def _is_hash(name: str, value: Any) -> bool:
    return isinstance(value, str) and bool(SHA256.fullmatch(value)) and Path(name).name == name


def provenance(weights: str | Path | None = None) -> dict:
    """What a result was made with: hashes of the weights (checked by `load_models`) and versions."""
    return {
        "weights": expected_hashes(weights),
        "versions": {name: version(name) for name in ("diffinfinite_lite", "torch", "diffusers", "numpy")},
        "python": platform.python_version(),
    }


def trained_patch(weights: str | Path | None = None) -> int:
    """Side of the patches that the image model was trained on, px."""
    expected_hashes(weights)  # refuses a folder that holds no model
    path = model_folder(weights) / "image.safetensors"
    patch = checkpoint.load(path)[1].get("patch")
    if not isinstance(patch, int):
        raise ValueError(f"expected the patch in px that the image model was trained on in {path}, got {patch!r}")
    return patch


def sampled_margin(weights: str | Path | None = None) -> int:
    """Latents by which a canvas of this model is larger than its picture on all sides, see `autoencoder.margin_of`.

    It is a property of the autoencoder, and 0 for one of diffusers.
    """
    if "autoencoder" not in expected_hashes(weights):
        return 0
    return margin_of(checkpoint.read_config(model_folder(weights) / "autoencoder.safetensors") or {})


def has_draft(weights: str | Path | None = None) -> bool:
    """Whether a model has a draft stage."""
    return "draft" in expected_hashes(weights)


def has_student(weights: str | Path | None = None) -> bool:
    """Whether a model has a student of each of its two stages."""
    return set(STUDENTS) <= expected_hashes(weights).keys()


def student_steps(weights: str | Path | None = None) -> int:
    """Steps in which the students of a model paint each stage.

    Raises
    ------
    ValueError
        If it has none.
    """
    if not has_student(weights):
        raise ValueError(
            f"expected a model with students for the quality fast, got one without in {model_folder(weights)}: it "
            "paints in the quality best, and diffinfinite train detail-student and draft-student make some"
        )
    return (checkpoint.read_config(model_folder(weights) / "image_student.safetensors") or {})["steps"]


def has_air(weights: str | Path | None = None) -> bool:
    """Whether the image model learnt air as a label of its own, or no more than five labels (see `five_codes`)."""
    expected_hashes(weights)  # refuses a folder that holds no model
    return knows_air(checkpoint.load(model_folder(weights) / "image.safetensors", TABLES)[0])


def load_models(weights: str | Path | None = None, device: str = "cpu") -> Models:
    """The networks of a model on a device, their hashes checked.

    They are loaded once for each folder, state of its files, and device, and shared by all who ask, so that nobody may
    move or change them; whoever needs them elsewhere asks for the other device.

    Parameters
    ----------
    weights : folder of an exported model; the shipped one by default.
    device : "cpu", "cuda", "cuda:1", ...

    Raises
    ------
    ValueError
        If a file is missing, was changed or cut short.
    OSError
        If a file must not be read.
    """
    folder = model_folder(weights).resolve()
    return _load_models(folder, _stamps(folder), _place(device))


def load_draft(weights: str | Path | None = None, device: str = "cpu") -> Drafting | None:
    """The networks of a model's draft stage, None where it has none; loaded once, as by `load_models`.

    Raises
    ------
    ValueError
        If a file is missing or was changed, or the image model reads no draft.
    OSError
        If a file must not be read.
    """
    folder = model_folder(weights).resolve()
    return _load_draft(folder, _stamps(folder), _place(device)) if has_draft(weights) else None


def load_students(weights: str | Path | None = None, device: str = "cpu") -> Students:
    """The students of a model, loaded once, as by `load_models`.

    Raises
    ------
    ValueError
        If it has none, or a file is missing or was changed.
    OSError
        If a file must not be read.
    """
    student_steps(weights)  # refuses a model without
    folder = model_folder(weights).resolve()
    return _load_students(folder, _stamps(folder), _place(device))


def _place(device: str) -> torch.device:
    """The device by its full name: "cuda" is one of "cuda:0", "cuda:1", ... and not another copy."""
    place = torch.device(device)
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", torch.cuda.current_device())
    return place


def _stamps(folder: Path) -> tuple:
    """What tells that files of a model were replaced since it was loaded: their times, sizes and numbers."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [(path.name, path.stat()) for path in found if path.is_file()]
    return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in files)


@lru_cache(maxsize=LOADED)
def _load_draft(folder: Path, _: tuple, device: torch.device) -> Drafting:
    files = expected_hashes(folder)
    if "appearance" not in files:
        raise ValueError(f"{_expected_in(folder / 'hashes.json')}, among them appearance, got none: {EXPORT_AGAIN}")
    check_hashes(folder, {name: files[name] for name in ("draft", "appearance")})
    if not checkpoint.load(folder / "image.safetensors")[1].get("reads_draft"):
        raise ValueError(f"expected an image model that reads drafts in {folder}, got one without: {EXPORT_AGAIN}")
    network = load_unet(folder / "draft.safetensors")
    assert isinstance(network, Draft)
    appearance = load_weights(folder / "appearance.safetensors", Appearance)
    return Drafting(network.to(device), appearance.to(device))


@lru_cache(maxsize=LOADED)
def _load_students(folder: Path, _: tuple, device: torch.device) -> Students:
    files = expected_hashes(folder)
    check_hashes(folder, {name: files[name] for name in STUDENTS})
    image, draft = (load_unet(folder / f"{name}.safetensors").to(device) for name in STUDENTS)
    assert isinstance(draft, Draft)
    return Students(image, draft)


@lru_cache(maxsize=LOADED)
def _load_models(folder: Path, _: tuple, device: torch.device) -> Models:
    files = expected_hashes(folder)
    check_hashes(folder, files)
    image = load_unet(folder / "image.safetensors")
    vae = image.config.get("vae")
    if not vae and "autoencoder" not in files:
        raise ValueError(f"{_expected_in(folder / 'hashes.json')}, among them autoencoder, got none: {EXPORT_AGAIN}")
    autoencoder = load_diffusers(vae) if vae else load_lite(folder)
    mask = load_mask(folder / "mask.safetensors")
    return Models(autoencoder.to(device), image.to(device), mask.to(device))


def check_hashes(folder: Path, files: dict[str, str]) -> None:
    """Refuse files that are missing or other ones than were exported."""
    for name, expected in files.items():
        path = folder / f"{name}.safetensors"
        try:
            checkpoint.check_readable(path, "weights")
        except FileNotFoundError as error:
            raise ValueError(f"{error}: {EXPORT_AGAIN}") from None
        found = checkpoint.sha256(path)
        if found != expected:
            what = f"expected {path.name} with SHA-256 {expected[:12]}..., got {found[:12]}..."
            raise ValueError(f"{what}: the file was changed or cut short")


def load_unet(path: Path) -> MaskUNet:
    """The network of a weights file, a `Draft`, a `Detail` or the image model of a single stage.

    All that is written there is in its ``config``. One that knew five labels is brought to six (`five_codes`).
    """
    tensors, config = checkpoint.load(path)

    def build(widths: list[int], latent_channels: int | None = None, **more: Any) -> MaskUNet:
        network: MaskUNet
        if latent_channels is None:
            network = Draft(widths, more["mean"], more["std"])
        else:
            network = (Detail if more.get("reads_draft") else MaskUNet)(latent_channels, widths)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        network.config |= more
        network.gain = more.get("gain", MaskUNet.gain)
        return network

    return checkpoint.fill(build(**config), with_air(tensors), path)


def load_mask(path: Path) -> MaskUNet | TwoScaleMask:
    """The mask model of a weights file: its two networks, or the one that models had before."""
    if "coarse" in (checkpoint.read_config(path) or {}):
        model = load_weights(path, TwoScaleMask)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return load_unet(path)


def load_lite(weights: Path) -> LiteAutoencoder:
    """Our own autoencoder from the folder of a model, with the decoder in ``decoder.safetensors`` if there is one."""
    return join_lite(weights / "autoencoder.safetensors", weights / "decoder.safetensors")


def join_lite(autoencoder: Path, decoder: Path) -> LiteAutoencoder:
    """Our own autoencoder, with another decoder that was trained after it where its file exists.

    That file says how its decoder is built, and may hold the upper layers alone. What the encoder sees beyond a picture
    is for the first one to say.
    """
    tensors, config = checkpoint.load(autoencoder)
    if decoder.exists():
        newer, built = checkpoint.load(decoder)
        tensors |= newer
        config = {**built, "borders": config.get("borders", "zero")}
    model = LiteAutoencoder(**config)
    kept = {key: tensors[key] for key in model.state_dict() if key in tensors}
    return checkpoint.fill(model, kept, autoencoder.parent)
