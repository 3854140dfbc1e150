"""Where to compute and how exactly: the device, the precision of products, a batch that fits the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
TRIALS, WORTHWHILE = 8, 0.9  # steps in each precision; the share of fp32's time that bfloat16 may take


def choose_device(device: str | None) -> str:
    """The device of that name; for None a GPU where torch sees one, else the CPU.

    Raises
    ------
    ValueError
        If it is no CPU and no GPU of CUDA (or ROCm, which torch calls so, too), or torch sees none of that number.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise ValueError(f"expected the device cpu, cuda or cuda:NUMBER, got {str(device)!r}: others are not supported")
    if wanted.type == "cpu":
        return "cpu"
    count = torch.cuda.device_count()
    if (wanted.index or 0) >= count:
        usable = f"one of the {count} GPUs that torch sees" if count else "cpu, as torch sees no GPU"
        raise ValueError(f"expected {usable}, got {str(device)!r}")
    return str(wanted)


def free_memory() -> int | None:
    """Bytes of main memory that this process may still take, or None where the system does not say (not Linux).

    The limit of a container counts, too; what it holds as file cache can be had again.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(stat["inactive_file"]))
    except (OSError, KeyError, ValueError):  # no such group, or "max" for no limit
        pass
    return free


@torch.no_grad()
def fitting_batch(unet: Callable[[Tensor, Tensor, Tensor], Tensor], channels: int, patch: int, device: str) -> int:
    """How many evaluations of the network to put into one pass.

    On a CPU these are 16: larger batches are no faster. On a GPU the memory of one evaluation more is measured, in
    single precision, and half of what is free is divided by it; 256 at most.

    Parameters
    ----------
    unet : network on that device, see `Denoiser`
    channels : of the latents
    patch : side of a window in latent pixels
    """
    if torch.device(device).type != "cuda":
        return 16

    def memory(batch: int) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        z = torch.zeros(batch, channels, patch, patch, device=device)
        unet(z, torch.zeros(batch, dtype=torch.int64, device=device), z[:, 0].long())
        return torch.cuda.max_memory_allocated(device)

    one_more = max(memory(3) - memory(2), 1)
    return max(1, min(256, torch.cuda.mem_get_info(device)[0] // (2 * one_more)))


def lower_precision(device: torch.device, precision: str) -> torch.autocast:
    """Context in which matrix products and convolutions use one of `PRECISIONS`."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


@cache
def bf16_helps() -> bool:
    """Whether bfloat16 trains faster on this processor, by a trial of a fifth of a second.

    Its name does not tell: with AMX it is three times as fast, with AVX512-BF16 1.6 times on one make and .65 times on
    another, and where it is only imitated a seventh (docs/adr/0026).
    """
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.zeros(8, 64, 28, 28).to(memory_format=torch.channels_last).requires_grad_()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for bf16 in (True, False) * TRIALS:  # in turn, so that other work slows both
        start = perf_counter()
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            layer(x).sum().backward()
        seconds[bf16].append(perf_counter() - start)
    return min(seconds[True]) < WORTHWHILE * min(seconds[False])


@dataclass(frozen=True)
class Compute:
    """Where training computes and how exactly.

    Attributes
    ----------
    device : "cpu", "cuda".
    bf16 : products of matrices and convolutions in bfloat16.
    """

    device: str = "cpu"
    bf16: bool = False

    def autocast(self) -> torch.autocast:
        """Context in which products have that precision."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16)
