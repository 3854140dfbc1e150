"""What one CUDA card does with the sampling engine: samples/s, network evaluations/s and peak memory.

    python benchmarks/gpu.py

needs torch, numpy and a clone of this repository, installed or not. The networks have the shipped architecture and
random weights, which cost the same. Compared are single precision, bf16 and fp16, each as it is and through
torch.compile; the batch size is the fastest of those that fit into four fifths of the card's free memory. A sample is
one canvas: torus-grid, DDIM, dense conditioning, omega = 1, decoded; of shipped weights with a draft it is both stages,
of those with a margin it has one. `pipelines.stages` would need the packages that read weights, so that this file puts
the stages together by itself. Results go to reports/gpu.json and reports/gpu.md.
``--device cpu --quick --no-compile`` tries the script where there is no card.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from diffinfinite_lite.devices import PRECISIONS, lower_precision  # noqa: E402
from diffinfinite_lite.models.autoencoder import LiteAutoencoder, margin_of  # noqa: E402
from diffinfinite_lite.models.detail import Detail  # noqa: E402
from diffinfinite_lite.models.draft import CODE, Draft  # noqa: E402
from diffinfinite_lite.models.thumbnails import Thumbnails  # noqa: E402
from diffinfinite_lite.models.unet import MaskUNet  # noqa: E402
from diffinfinite_lite.pipelines.margin import mirrored  # noqa: E402
from diffinfinite_lite.sampling.beside import Across, NoisedCanvas  # noqa: E402
from diffinfinite_lite.sampling.cost import Ledger  # noqa: E402
from diffinfinite_lite.sampling.decode import decode  # noqa: E402
from diffinfinite_lite.sampling.denoiser import Denoiser  # noqa: E402
from diffinfinite_lite.sampling.sample import sample  # noqa: E402
from diffinfinite_lite.sampling.solvers import cosine_alphas  # noqa: E402

SHARE = 0.8  # of the free memory that a batch may take
LARGEST = 1024


WEIGHTS = ROOT / "diffinfinite_lite/weights"
DRAFT_NOISE = 0.1  # on the draft that detail reads, as `SamplingConfig` has it


def architecture(name: str) -> dict:
    """Configuration of a shipped network, from the header of its safetensors file."""
    with (WEIGHTS / f"{name}.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["config"])


class Built(NamedTuple):
    """Networks with random weights.

    Attributes
    ----------
    autoencoder, image, draft : the last one is None where the shipped model has none.
    patch : side of a window in latent pixels.
    margin : latents around the picture.
    """

    autoencoder: LiteAutoencoder
    image: MaskUNet
    draft: Draft | None
    patch: int
    margin: int


def build(device: torch.device) -> Built:
    """The networks of the shipped model, as wide and in as many parts, with random weights."""
    coder, image = architecture("autoencoder"), architecture("image")
    margin = margin_of(coder)
    if (WEIGHTS / "decoder.safetensors").exists():  # it says how the decoder is built
        coder = architecture("decoder")
    widths = ("latent_channels", "widths")
    wanted = (*widths, "encoder_blocks", "decoder_blocks", *(["upsampling"] if "upsampling" in coder else []))
    autoencoder = LiteAutoencoder(**{key: coder[key] for key in wanted})
    network = (Detail if image.get("reads_draft") else MaskUNet)(**{key: image[key] for key in widths})
    draft = Draft(architecture("draft")["widths"]) if (WEIGHTS / "draft.safetensors").exists() else None

    def placed(model: nn.Module) -> nn.Module:
        return model.eval().to(device, memory_format=torch.channels_last)

    found = placed(autoencoder), placed(network), draft and placed(draft)
    return Built(*found, image["patch"] // autoencoder.factor, margin)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def rate(network: nn.Module, batch: int, patch: int, channels: int, device: torch.device, precision: str) -> float:
    """Evaluations a second of the bare network in batches of this size."""
    z = torch.randn(batch, channels, patch, patch, device=device)
    times = torch.full((batch,), 500, device=device)
    condition = torch.ones(batch, patch, patch, dtype=torch.int64, device=device)
    calls = 0
    with lower_precision(device, precision):
        for _ in range(3 if device.type == "cuda" else 1):
            network(z, times, condition)
        wait(device)
        began = time.perf_counter()
        while calls < 3 or time.perf_counter() - began < (1.0 if device.type == "cuda" else 0.2):
            network(z, times, condition)
            wait(device)
            calls += 1
    return calls * batch / (time.perf_counter() - began)


def choose_batch(
    network: nn.Module, patch: int, channels: int, device: torch.device, precision: str, largest: int
) -> tuple[int, float]:
    """Fastest batch size that fits, doubled from 4, and its evaluations a second."""
    rates, batch = {}, 4
    while batch <= largest:
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
        try:
            rates[batch] = rate(network, batch, patch, channels, device, precision)
        except torch.OutOfMemoryError:
            break
        if device.type == "cuda" and torch.cuda.max_memory_allocated(device) * 2 > SHARE * free:
            break  # the next size would not fit
        batch *= 2
    best = max(rates, key=rates.get)
    return best, rates[best]


def measure(device: torch.device, precision: str, compiled: bool, px: int, steps: int, largest: int) -> dict:
    """One canvas, warm, in one precision."""
    autoencoder, image, draft, patch, margin = build(device)
    channels, row = autoencoder.latent_channels, {"precision": precision, "compiled": compiled}
    networks = [image] if draft is None else [draft, image]
    began = time.perf_counter()
    if compiled:
        networks = [torch.compile(network) for network in networks]
    batch, bare = choose_batch(networks[-1], patch, channels, device, precision, largest)
    row |= {"batch": batch, "bare_evaluations_per_second": bare, "setup_seconds": time.perf_counter() - began}
    conditions = (torch.arange(px // 8, device=device) // patch % 4 + 1).expand(px // 8, -1).contiguous()
    conditions, alphas = mirrored(conditions, margin), cosine_alphas().to(device)
    appearance = Across(torch.cat([torch.zeros(CODE), torch.ones(1)]).to(device))
    denoisers = [Denoiser(each, alphas, omega=1.0, batch_size=batch, precision=precision) for each in networks]

    def canvas(steps: int):
        settings, ledger = {"patch": patch, "plan": "torus-grid", "steps": steps}, Ledger()
        beside = None if draft is None else appearance
        for denoiser, depth in zip(denoisers, [Thumbnails.latent_channels, channels][-len(denoisers) :], strict=True):
            *_, level = sample(denoiser, conditions, channels=depth, beside=beside, **settings)
            ledger, beside = ledger + level.ledger, NoisedCanvas(level.canvas, DRAFT_NOISE, 1)
        border = 0 if margin else 4
        with lower_precision(device, precision):
            image = decode(
                autoencoder, level.canvas.latents, tile=152, overlap=24, batch_size=1, border=border, margin=margin
            )
        return ledger, bool(image.isfinite().all())

    canvas(1)  # the odd last batch of a level is compiled here
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    ledger, finite = canvas(steps)
    wait(device)
    total = time.perf_counter() - began
    row |= {
        "seconds": total,
        "samples_per_second": 1 / total,
        "evaluations": ledger.evaluations,
        "evaluations_per_second": ledger.evaluations / ledger.network_seconds,
        "seconds_network": ledger.network_seconds,
        "seconds_canvas": ledger.canvas_seconds,
        "seconds_decoding": total - ledger.network_seconds - ledger.canvas_seconds,
        "finite": finite,
    }
    if device.type == "cuda":
        row["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) // 2**20
    return row


def table(result: dict) -> str:
    """The figures as Markdown."""
    without = "" if any(row["compiled"] for row in result["rows"]) else " --no-compile"
    lines = [
        "# One card",
        "",
        f"`python benchmarks/gpu.py{without}`, {result['device']}, torch {result['torch']}: canvases of "
        f"{result['px']} px, {result['steps']} steps.",
        "",
        "| precision | compiled | batch | samples/s | NFE/s | bare NFE/s | network, canvas, decoding s | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if "error" in row:
            lines.append(f"| {row['precision']} | {row['compiled']} | failed: {row['error']} | | | | | |")
            continue
        seconds = ", ".join(f"{row[f'seconds_{part}']:.2f}" for part in ("network", "canvas", "decoding"))
        lines.append(
            f"| {row['precision']} | {'yes' if row['compiled'] else 'no'} | {row['batch']} "
            f"| {row['samples_per_second']:.3g} | {row['evaluations_per_second']:.0f} "
            f"| {row['bare_evaluations_per_second']:.0f} | {seconds} | {row.get('peak_memory_mb', '')} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the options, measure every combination, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--px", type=int, default=2048, help="side of the canvas, a multiple of 8")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--quick", action="store_true", help="a small canvas, two steps, small batches")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/gpu.json")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu.py: expected a CUDA card, found none: --device cpu --quick tries the script")
    px, steps, largest = (256, 2, 4) if asked.quick else (asked.px, asked.steps, LARGEST)
    rows = []
    for precision in PRECISIONS:
        for compiled in (False,) if asked.no_compile else (False, True):
            try:
                rows.append(measure(device, precision, compiled, px, steps, largest))
            except Exception as error:  # one combination that a card cannot run must not cost the others
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                rows.append({"precision": precision, "compiled": compiled, "error": reason})
            print(rows[-1], flush=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    result = {"device": name, "torch": torch.__version__, "px": px, "steps": steps, "rows": rows}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    asked.out.with_suffix(".md").write_text(table(result))
    print(table(result))
    if all("error" in row for row in rows):
        sys.exit("gpu.py: no combination ran")


if __name__ == "__main__":
    main()
