"""How good a decoder is: 180 training and 110 unseen tiles, one a cluster, encoded and decoded, beside real ones.

    python benchmarks/decoder.py                                          # the shipped one
    python benchmarks/decoder.py runs/decoder/ema.safetensors --sheet sheet.png

The rulers are EfficientNet-Lite0, which the losses of `train decoder` have seen, handcrafted features, and one network
that no loss has seen, if its file is given: ``--independent open-nsfw.onnx``, see `independent`.
The contact sheet has rows of real, shipped and new tiles at full size; it shows third-party tiles and is not committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from independent import independent
from PIL import Image
from torch import Tensor

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.evaluation.latents import measure, reconstruct
from diffinfinite_lite.metrics.features import HandcraftedFeatures, efficientnet_features
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.models.pretrained import WEIGHTS, load_lite

TRAINING, UNSEEN = 180, 110


def trained(path: Path | None) -> LiteAutoencoder:
    """The shipped autoencoder, or its encoder with the decoder of a run."""
    shipped = load_lite(WEIGHTS)
    if path is None:
        return shipped
    tensors, config = checkpoint.load(path)
    own = {key: value for key, value in tensors.items() if key.startswith("decoder.")}
    kept = {key: value for key, value in shipped.state_dict().items() if not key.startswith("decoder.")}
    return checkpoint.fill(LiteAutoencoder(**config), kept | own, path)


def tiles(split: str, count: int) -> list[Tensor]:
    """So many tiles of LC25000, drawn by seed 0, one of each cluster."""
    options = {"one_per_cluster": True, "normalised": True, "limit": count}
    return [tile.image for tile in catalog.load("lc25000-lung", split, generator=np.random.default_rng(0), **options)]


def sheet(rows: list[list[Tensor]]) -> Image.Image:
    """Rows of tiles at full size."""
    return Image.fromarray(np.concatenate([np.concatenate([to_rgb(x) for x in row], axis=1) for row in rows]))


def main(
    decoder: Annotated[Path | None, typer.Argument(help="ema.safetensors of train decoder; None: shipped.")] = None,
    resnet: Annotated[Path | None, typer.Option("--independent", help="open-nsfw.onnx.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    picture: Annotated[Path | None, typer.Option("--sheet", help="PNG: real, shipped, new.")] = None,
    columns: int = 6,
) -> None:
    """Measure a decoder, and show what it does."""
    torch.set_num_threads(1)
    autoencoder = trained(decoder)
    seen, unseen = tiles("train", TRAINING), tiles("test", UNSEEN)
    extractors = [efficientnet_features(), HandcraftedFeatures(), *([independent(resnet)] if resnet else [])]
    report, made = measure(autoencoder, seen, unseen, extractors, generator=np.random.default_rng(0))
    typer.echo(report.table().markdown())
    typer.echo("power by ring over real: " + " ".join(f"{value:.2f}" for value in report.spectrum[7::8]))
    if out:
        out.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    if picture:
        shipped = trained(None)
        sheet([seen[:columns], [reconstruct(shipped, x) for x in seen[:columns]], made[:columns]]).save(picture)


if __name__ == "__main__":
    typer.run(main)
