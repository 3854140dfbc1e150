r"""Training loops as generators: `fit` draws a batch, steps, averages weights, and survives being killed.

The batch of step n is a function of (seed, n), so that a resumed run sees the batches it would have seen. State
(weights, their exponential moving average, Adam moments) is one safetensors file, written whole and renamed.

Started by `accelerate launch`, every process draws batches of its own and the gradients are averaged: p processes take
p times the batch. The first one keeps the log and the checkpoints.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn import functional as F

from . import checkpoint
from .unet import LABELS

Loss = Callable[[int, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class Progress:
    """One training step: its number (from 1), the losses as floats, seconds since the run (re)started."""

    step: int
    losses: dict[str, float]
    seconds: float


def learning_rate(step: int, steps: int, peak: float, warmup: float = 0.05) -> float:
    """Linear warm-up over the first share of the run, then linear decay to a twentieth of the peak."""
    done = step / steps
    return peak * (done / warmup if done < warmup else max(0.05, (1 - done) / (1 - warmup)))


def fit(
    model: nn.Module,
    loss: Loss,
    *,
    steps: int,
    peak_lr: float,
    out: Path,
    seed: int = 0,
    ema_decay: float = 0.999,
    weight_decay: float = 0.01,
    save_every: int = 200,
    parameters=None,
) -> Iterator[Progress]:
    """Train ``model`` and yield after every step.

    Parameters
    ----------
    loss : ``loss(step, generator)`` returns a dict whose ``"loss"`` entry is minimised; the rest is logged.
    steps : total number of steps, those before a resume included.
    peak_lr : largest learning rate of AdamW (warm-up, then linear decay).
    out : folder for ``state.safetensors`` (resumed from if present), ``ema.safetensors`` and ``log.csv``.
    parameters : what to train; all of the model by default.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    trained = list(model.parameters() if parameters is None else parameters)
    optimizer = torch.optim.AdamW(trained, lr=peak_lr, weight_decay=weight_decay, betas=(0.9, 0.99))
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    start = _resume(out, model, optimizer, average)
    workers = PartialState()  # one process, or those that `accelerate launch` started
    workers.wait_for_everyone()
    began = time.monotonic()
    log = _log(out / "log.csv", start) if workers.is_main_process else None
    for step in range(start + 1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak_lr)
        losses = loss(step, batch_generator(seed, step, workers.process_index))
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        if workers.num_processes > 1:
            for parameter in trained:
                if parameter.grad is not None:
                    parameter.grad = reduce(parameter.grad, "mean")
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        decay = min(ema_decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)
        values = {k: float(v.detach()) for k, v in losses.items()}
        if not all(map(math.isfinite, values.values())):
            raise ValueError(f"the loss at step {step} is not a number: lower the learning rate")
        if log:
            if log.tell() == 0:
                csv.writer(log).writerow(["step", *values])
            csv.writer(log).writerow([step, *(f"{v:.5f}" for v in values.values())])
        if log and (step % save_every == 0 or step == steps):
            log.flush()
            _save(out, model, optimizer, average, step)
        yield Progress(step, values, time.monotonic() - began)


def _log(path: Path, done: int):
    """The log, without the rows of steps that a killed run made after its last checkpoint."""
    if path.exists():
        rows = path.read_text().splitlines(keepends=True)
        kept = [row for row in rows if not (first := row.split(",")[0]).isdigit() or int(first) <= done]
        path.write_text("".join(kept))
    return path.open("a", newline="")


def batch_generator(seed: int, step: int, process: int = 0) -> torch.Generator:
    """The randomness of one step of one process."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step + (process << 40))


def autocast(device: str, bf16: bool) -> torch.autocast:
    """bfloat16 products on a device, or plain single precision."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16)


def _save(out: Path, model: nn.Module, optimizer, average: dict[str, Tensor], step: int) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{k}": v for k, v in state.items()}
    checkpoint.save(out / "state.safetensors", tensors, {"step": step, **model.config})
    checkpoint.save(
        out / "ema.safetensors",
        {k: v.half() if v.is_floating_point() else v for k, v in average.items()},
        model.config,
    )


def _resume(out: Path, model: nn.Module, optimizer, average: dict[str, Tensor]) -> int:
    if not (out / "state.safetensors").exists():
        return 0
    tensors, config = checkpoint.load(out / "state.safetensors")
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for key, value in average.items():
        value.copy_(tensors[f"ema.{key}"])
    states: dict[int, dict] = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, index, name = key.split(".")
            states.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    return config["step"]


def random_crops(images: Tensor, size: int, batch: int, generator: torch.Generator) -> Tensor:
    """Random crops in a random one of eight orientations.

    Parameters
    ----------
    images : uint8 (N, H, W, 3)

    Returns
    -------
    float (batch, 3, size, size) in [-1, 1]
    """
    picked = torch.randint(len(images), (batch,), generator=generator).tolist()
    crops = []
    for index in picked:
        top, left, turn, flip = (
            int(torch.randint(n, (1,), generator=generator))
            for n in (images.shape[1] - size + 1, images.shape[2] - size + 1, 4, 2)
        )
        crop = images[index, top : top + size, left : left + size].permute(2, 0, 1)
        crop = torch.rot90(crop, turn, (1, 2))
        crops.append(crop.flip(2) if flip else crop)
    return torch.stack(crops).float() / 127.5 - 1


def autoencoder_loss(
    model: nn.Module,
    images: Tensor,
    *,
    size: int = 128,
    batch: int = 16,
    bf16: bool = True,
    device: str = "cpu",
) -> Loss:
    """L1 on pixels and on their finite differences: the encoder learns what is there, edges included."""

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = random_crops(images, size, batch, generator).to(device, memory_format=torch.channels_last)
        with autocast(device, bf16):
            z = model.encode(x)
            y = model.decode(z + model.noise * torch.randn(z.shape, generator=generator).to(device))
        error = y.float() - x
        edges = (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2
        pixels = error.abs().mean()
        return {"loss": pixels + edges, "l1": pixels, "mse": error.detach().square().mean()}

    return loss


def pool_mask(mask: Tensor, factor: int = 8) -> Tensor:
    """Label masks (N, H, W) to latent resolution (N, H/f, W/f): the most frequent label of each block."""
    shares = F.avg_pool2d(F.one_hot(mask.long(), LABELS).permute(0, 3, 1, 2).float(), factor)
    return shares.argmax(dim=1)


@torch.no_grad()
def encode_tiles(
    autoencoder: nn.Module, images: Tensor, batch: int = 16, bf16: bool = True, device: str = "cpu"
) -> Tensor:
    """Latents (N, C, H/8, W/8) in half precision of uint8 tiles (N, H, W, 3)."""
    out = []
    for chunk in images.split(batch):
        x = chunk.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with autocast(device, bf16):
            latents = autoencoder.eval().encode(x.contiguous(memory_format=torch.channels_last))
        out.append(latents.half().cpu())
    return torch.cat(out)


def image_loss(
    model: nn.Module,
    alphas_cumprod: Tensor,
    unlabelled: Tensor,
    labelled: list[tuple[Tensor, Tensor]],
    *,
    p_unc: float = 0.5,
    patch: int = 16,
    batch: int = 32,
    single_label: float = 0.25,
    middle: float = 0.0,
    bf16: bool = True,
    device: str = "cpu",
) -> Loss:
    """Alg. 1 with eq. 9: v-prediction on labelled and unlabelled latents, drawn sample by sample.

    The paper's eq. 9 takes the unlabelled set where u >= p_unc, its text calls p_unc the probability of the
    unconditional case. At the paper's p_unc = 0.5 they agree; this code follows the text.

    Parameters
    ----------
    unlabelled : (N, C, h, w), the set q0.
    labelled : the set q1 as sources, each latents (N, C, h, w) and conditions (N, h, w); a source is drawn in
        proportion to the square root of its size, or a small expert set would never be seen.
    single_label : share of the labelled samples that keep one of their labels and lose the others.
    middle : share of the samples whose timestep comes from a triangle over the schedule, not from all of it alike.
    """
    weights = torch.tensor([len(z) ** 0.5 for z, _ in labelled])

    def crop(z: Tensor, c: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        top, left = (int(torch.randint(n - patch + 1, (1,), generator=generator)) for n in z.shape[-2:])
        return z[:, top : top + patch, left : left + patch], c[top : top + patch, left : left + patch]

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if torch.rand((), generator=generator) < p_unc:
            z = unlabelled[torch.randint(len(unlabelled), (), generator=generator)]
            return crop(z, torch.zeros(z.shape[-2:], dtype=torch.int64), generator)
        latents, conditions = labelled[int(torch.multinomial(weights, 1, generator=generator))]
        index = torch.randint(len(latents), (), generator=generator)
        z, c = crop(latents[index], conditions[index], generator)
        if torch.rand((), generator=generator) < single_label:
            present = c.unique()
            kept = present[torch.randint(len(present), (), generator=generator)]
            c = torch.where(c == kept, c, 0)
        return z, c

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        z, condition = map(torch.stack, zip(*(draw(generator) for _ in range(batch)), strict=True))
        z = z.float()
        where = torch.rand(3, batch, generator=generator)  # the mean of two uniform draws has a triangle's density
        t = (len(alphas_cumprod) * torch.where(where[2] < middle, where[:2].mean(dim=0), where[0])).long()
        noise = torch.randn(z.shape, generator=generator)
        a = alphas_cumprod[t].view(-1, 1, 1, 1)
        z, condition, t, noise, a = (x.to(device) for x in (z, condition, t, noise, a))
        with autocast(device, bf16):
            v = model(a.sqrt() * z + (1 - a).sqrt() * noise, t, condition)
        return {"loss": F.mse_loss(v.float(), a.sqrt() * noise - (1 - a).sqrt() * z)}

    return loss
