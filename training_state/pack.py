"""Averages of a run as what changed since other averages, in whole steps (31 or LEVELS either way), rows scaled each by its own: to be
gone on with after the machine was lost, not to be shipped. git packs the bytes to about six bits a weight.

python pack.py pack EMA BASE OUT [LEVELS]      python pack.py unpack IN BASE EMA_HALF     (EMA_HALF is what resume.py takes)
"""
import sys
from pathlib import Path
import torch
from diffinfinite_lite.models import checkpoint
kind, a, base, b = sys.argv[1], *map(Path, sys.argv[2:5]); L = int(sys.argv[5]) if len(sys.argv) > 5 else 31
t, c = checkpoint.load(a); old = checkpoint.load(base)[0]; out = {}
if kind == "pack":
    for k, v in t.items():
        if k in old and v.is_floating_point() and v.numel() > 4096 and v.ndim > 1:
            rows = (v.float() - old[k].float()).flatten(1); s = rows.abs().amax(1).clamp(min=1e-8) / L
            out[k + "|q"] = (rows / s[:, None]).round().to(torch.int8).view(v.shape); out[k + "|s"] = s
            err = ((out[k + "|q"].float().flatten(1) * s[:, None] - rows).norm() / v.float().norm()).item()
            assert err < .04, (k, err)
        else: out[k] = v.half() if v.is_floating_point() else v
else:
    for k, v in t.items():
        if k.endswith("|q"): n = k[:-2]; out[n] = (old[n].float() + (v.float().flatten(1) * t[n + "|s"][:, None]).view(v.shape)).half()
        elif not k.endswith("|s"): out[k] = v
checkpoint.save(b, out, c)
