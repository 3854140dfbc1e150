"""What a network gains that is shown a small picture: tiles under the labels of training tiles, with and without it.

    python benchmarks/small_picture.py detail.safetensors --tiles 30 --steps 12

The small picture is the *real* thumbnail of the tile, so that what comes out is a copy of it in its light, layout and
stain: an upper bound to measure with, never to be shown or counted as synthetic. Beside it stand the shipped model from
noise under the same labels, and the tiles merely encoded and decoded, which no model in these latents can pass.
Everything is measured on the middle 192 px against unseen clusters. Chapter 13 shows the report.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.labels import CONTEXTS, condition_map, pool_mask
from diffinfinite_lite.metrics.features import HandcraftedFeatures, Standardiser, efficientnet_features
from diffinfinite_lite.metrics.fidelity import classifier_two_sample, frechet_distance, precision_recall
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.five_codes import with_air
from diffinfinite_lite.models.pretrained import load_models, provenance
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.solvers import cosine_alphas, make_solver

MEAN, STD = (0.70508, 0.45410, 0.81689), (0.26082, 0.39157, 0.14366)  # of thumbnails, as the detail model was trained
LABELS_OF_SET = {"adenocarcinoma": "lung_aca", "squamous": "lung_scc", "normal": "lung_n"}
EDGE = 16  # px that are left out on all sides: the decoder was trained on latents with a ring, the detail model was not
NOISE = 0.1  # standard deviation of the noise on the small picture


def load_detail(path: Path) -> Detail:
    """A `Detail`, of an export or of `recipes/tissue`, whose keys begin with the names of its wrappers."""
    tensors, _ = checkpoint.load(path)
    model = Detail()
    own = with_air({key.removeprefix("m.un."): value.float() for key, value in tensors.items()})
    missing = set(model.state_dict()) - set(own)
    if any(not name.startswith("level.") for name in missing):  # the recipe's network was not told the noise level
        raise ValueError(f"expected the weights of a detail model in {path}, got none for {sorted(missing)[0]}")
    model.load_state_dict(model.state_dict() | own)
    return model.eval()


@torch.no_grad()
def paint(network: torch.nn.Module, conditions: Tensor, steps: int, beside: Tensor | None = None) -> Tensor:
    """Latents (N, 8, h, w) from noise, 15 at a time."""
    alphas = cosine_alphas()
    start = torch.randn(len(conditions), 8, *conditions.shape[1:], generator=torch.Generator().manual_seed(5))
    painted = []
    for first in range(0, len(conditions), 15):
        part = slice(first, first + 15)
        denoiser, solver = Denoiser(network, alphas, batch_size=15), make_solver("dpm-solver++", steps, alphas)
        z, memory = start[part], None
        for level, t in enumerate(solver.timesteps):
            read = z if beside is None else torch.cat([z, beside[part]], dim=1)
            z, memory = solver.step(denoiser(read, t, conditions[part]), z, level, memory=memory)
        painted.append(z)
    return torch.cat(painted)


def middle(images: Tensor) -> list[Tensor]:
    """Without their edge, in grey levels that a picture can hold."""
    return list(((images[..., EDGE:-EDGE, EDGE:-EDGE].clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1)


def main(
    weights: Annotated[Path, typer.Argument(help="of a detail model")],
    tiles: Annotated[int, typer.Option(help="of each context")] = 30,
    steps: int = 12,
    out: Path = Path("reports/small_picture.json"),
) -> None:
    autoencoder, image, _ = load_models()
    found, conditions, unseen = [], [], []
    for context in CONTEXTS:
        name = LABELS_OF_SET[context]
        each: dict = {"label": name, "normalised": True, "one_per_cluster": True, "limit": tiles}
        draw = np.random.default_rng(0)
        found += [tile.image for tile in catalog.load("lc25000-lung", "train", generator=draw, **each)]
        unseen += [tile.image for tile in catalog.load("lc25000-lung", "test", generator=draw, **each)]
        for picture in found[len(conditions) :]:
            mask = torch.from_numpy(annotate(to_rgb(picture), context)).long()
            conditions.append(condition_map(pool_mask(mask[None])[0], context))
    x, labels = torch.stack(found), torch.stack(conditions)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    small = (F.avg_pool2d(x, 8) - mean) / std
    small = small + NOISE * torch.randn(small.shape, generator=torch.Generator().manual_seed(0))
    beside = torch.cat([small, torch.full((len(x), 1, *small.shape[2:]), NOISE)], dim=1)
    with torch.no_grad():
        z = torch.cat([autoencoder.encode(part) for part in x.split(15)])
        arms = {"encoded and decoded": z, "from noise, one stage": paint(image, labels, steps),
                "from noise, beside the small picture": paint(load_detail(weights), labels, steps, beside)}  # fmt: skip
        pictures = {name: torch.cat([autoencoder.decode(part) for part in z.split(15)]) for name, z in arms.items()}
    rows, rng = [], np.random.default_rng(0)
    for extractor in (efficientnet_features(), HandcraftedFeatures()):
        reference = extractor(middle(torch.stack(unseen)))
        ruler = Standardiser.fit(reference)
        real = ruler(reference)
        between = frechet_distance(real, ruler(extractor(middle(x))))
        for name, images in ({"real training tiles": x} | pictures).items():
            features = ruler(extractor(middle(images)))
            rows.append({"tiles": name, "features": extractor.name,
                         "distance over real": frechet_distance(real, features) / between,
                         "recall": precision_recall(real, features).recall,
                         "told apart": classifier_two_sample(real, features, rng)})  # fmt: skip
            print(rows[-1], flush=True)
    command = f"python benchmarks/small_picture.py {weights.name} --tiles {tiles} --steps {steps}"
    settings = {"detail": checkpoint.sha256(weights), "tiles": len(x), "steps": steps} | provenance()
    out.write_text(json.dumps({"command": command, "settings": settings, "rows": rows}, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    typer.run(main)
