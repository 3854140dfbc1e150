r"""Training loops as generators: `fit` draws a batch, steps, averages weights, and survives being killed.

The batch of step n is a function of (seed, n), so that a resumed run sees the batches it would have seen. State
(weights, their exponential moving average, Adam moments) is one safetensors file, written whole and renamed. It says
what the model learns from (`fingerprint`), and does not go on from anything else.

Started by `accelerate launch`, every process draws batches of its own and the gradients are averaged: p processes take
p times the batch. The first one keeps the log and the checkpoints.
"""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..extras import extra
from ..files import check_folder, write_text
from ..models import checkpoint
from . import fingerprint

with extra("train"):
    from accelerate import PartialState
    from accelerate.utils import reduce


Loss = Callable[[int, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class Progress:
    """One training step: its number (from 1), the losses as floats, seconds since the run (re)started."""

    step: int
    losses: dict[str, float]
    seconds: float


def learning_rate(step: int, steps: int, peak: float, warmup: float = 0.05, decay: float = 0.95) -> float:
    """Linear warm-up over the first share of the run, linear decay to a twentieth of the peak over the last one."""
    done = step / steps
    return peak * (done / warmup if done < warmup else min(1, max(0.05, (1 - done) / decay)))


@dataclass(frozen=True)
class Optimisation:
    """How long and how fast a model learns.

    Attributes
    ----------
    steps : total number of steps, those before a resume included.
    peak_lr : largest learning rate of AdamW, see `learning_rate`.
    seed : of the batches.
    ema_decay : of the moving average of the weights; less in the first steps.
    weight_decay : of AdamW.
    save_every : steps between two checkpoints.
    warmup, decay : shares of the run in which the learning rate rises and falls; between them it stays, so that a
        run that is stopped there can be judged and gone on with.
    """

    steps: int
    peak_lr: float
    seed: int = 0
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    save_every: int = 200
    warmup: float = 0.05
    decay: float = 0.95


def fit(
    model: nn.Module,
    loss: Loss,
    optimisation: Optimisation,
    *,
    out: Path,
    parameters: Iterable[dict[str, Any]] | None = None,
    origin: Mapping[str, object] | None = None,
) -> Iterator[Progress]:
    """Train a model and yield after every step.

    Ctrl-C, or SIGTERM, ends it after the step that is being made, whose checkpoint is then written.

    Parameters
    ----------
    model : with ``config``, the JSON-able keywords that it is built with again.
    loss : ``loss(step, generator)`` returns a dict whose ``"loss"`` entry is minimised; the rest is logged.
    out : folder for ``state.safetensors`` (resumed from if present), ``ema.safetensors`` and ``log.csv``.
    parameters : what to train, as groups of the optimiser (``{"params": [...], "betas": ...}``), each with a gradient
        of length 1 at most; by default all of the model.
    origin : fingerprint of what the model learns from, see `fingerprint.check`. None: nothing is known and compared.

    Raises
    ------
    ValueError
        If a loss is infinite or not a number, or ``out`` holds a model that was trained for more steps or on something
        else.
    OSError
        If the disk is full; the last checkpoint stays.
    """
    out = Path(out)
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    groups = [{"params": list(model.parameters())}] if parameters is None else list(parameters)
    optimizer = torch.optim.AdamW(
        groups, lr=optimisation.peak_lr, weight_decay=optimisation.weight_decay, betas=(0.9, 0.99)
    )
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    if origin is not None and (out / "state.safetensors").exists():
        fingerprint.check(out / "state.safetensors", origin)
    start, before = _resume(out, model, optimizer, average)
    processes = PartialState()  # one, or those that `accelerate launch` started
    processes.wait_for_everyone()
    began = time.monotonic()
    if start > optimisation.steps:
        raise ValueError(f"expected at least the {start} steps that {out} has already, got {optimisation.steps}")
    rows: list[list] = []
    if processes.is_main_process:
        _cut_log(out / "log.csv", start)
    with _stop_signals() as stopped:
        for step in range(start + 1, optimisation.steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(
                    step, optimisation.steps, optimisation.peak_lr, optimisation.warmup, optimisation.decay
                )
            losses = loss(step, batch_generator(optimisation.seed, step, processes.process_index))
            _descend(losses["loss"], optimizer, processes)
            _follow(average, model, min(optimisation.ema_decay, (1 + step) / (10 + step)))
            values = {k: float(v.detach()) for k, v in losses.items()}
            if not all(map(math.isfinite, values.values())):
                raise ValueError(f"expected finite losses, got {values} at step {step}: lower the learning rate")
            seconds = time.monotonic() - began
            rows.append([step, f"{before + seconds / 60:.2f}", *(f"{v:.5f}" for v in values.values())])
            if step % optimisation.save_every == 0 or step == optimisation.steps or stopped:
                if processes.is_main_process:
                    _extend_log(out / "log.csv", ["step", "minutes", *values], rows)
                    _save(out, model, optimizer, average, {"step": step, "minutes": before + seconds / 60}, origin)
                rows.clear()
            if stopped:
                raise KeyboardInterrupt
            yield Progress(step, values, seconds)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that takes Ctrl-C and SIGTERM instead of what they do; outside of the main thread they are left alone."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    usual = [signal.signal(each, lambda number, _: stopped.append(number)) for each in signals]
    try:
        yield stopped
    finally:
        for each, handler in zip(signals, usual, strict=True):
            signal.signal(each, handler)


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, processes: PartialState) -> None:
    """One step down the gradient, which is averaged over processes and, in each group, at most 1 long."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        if processes.num_processes > 1:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = reduce(parameter.grad, "mean")
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()


def _follow(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move the average of the weights towards the model's; what is no float (counters) is copied."""
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - decay)
        else:
            average[key].copy_(value)


def _cut_log(path: Path, done: int) -> None:
    """Remove from the log the rows of steps that a killed run made after its last checkpoint, and half a row."""
    if path.exists():
        rows = path.read_text().splitlines(keepends=True)
        past = [row for row in rows if not (first := row.split(",")[0]).isdigit() or int(first) <= done]
        write_text(path, "".join(row for row in past if row.endswith("\n")))


def _extend_log(path: Path, head: list[str], rows: list[list]) -> None:
    """Add rows to the log, under a head where it is new."""
    try:
        with path.open("a", newline="") as log:
            csv.writer(log).writerows(rows if log.tell() else [head, *rows])
    except OSError as error:
        raise OSError(f"expected room for {path}, got: {error.strerror}") from error


def batch_generator(seed: int, step: int, process: int = 0) -> torch.Generator:
    """The randomness of one step of one process."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step + (process << 40))


def _save(
    out: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    done: dict[str, float],
    origin: Mapping[str, object] | None,
) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{k}": v for k, v in state.items()}
    halves = {k: v.half() if v.is_floating_point() else v for k, v in average.items()}
    checkpoint.save(out / "state.safetensors", tensors, {**done, **model.config}, origin)
    checkpoint.save(out / "ema.safetensors", halves, model.config, origin)


def _resume(
    out: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]
) -> tuple[int, float]:
    """Fill model, optimizer and average from a checkpoint, where there is one; steps done, and minutes taken."""
    if not (out / "state.safetensors").exists():
        return 0, 0.0
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
    return config["step"], config.get("minutes", 0.0)
