"""A model of your own tissue: a folder of pictures with masks, two training steps of a tiny autoencoder.

A folder holds NAME.png beside NAME_mask.png (labels as in `diffinfinite_lite.labels`); its first folder level is the
context. On the command line: `diffinfinite train autoencoder --data FOLDER --out runs/mine`.

python examples/own_data.py runs/mine
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import diffinfinite_lite as dl
from diffinfinite_lite.data.folders import read_folder
from diffinfinite_lite.labels import LABELS
from diffinfinite_lite.training import recipes
from diffinfinite_lite.training.data import Setting

out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mine")
with tempfile.TemporaryDirectory() as folder:
    pictures = Path(folder, "squamous")  # stands for your pictures: here two that the shipped model paints
    pictures.mkdir()
    mask = np.full((224, 224), LABELS.index("carcinoma"), np.uint8)
    for seed in (0, 1):
        pair = dl.generate("squamous", mask, steps=10, solver="dpm-solver++", seed=seed)
        Image.fromarray(pair.image).save(pictures / f"{seed}.png")
        Image.fromarray(pair.mask).save(pictures / f"{seed}_mask.png")
    for tile in read_folder(Path(folder)):
        print(tile.name, tuple(tile.image.shape), "labels", tile.mask.unique().tolist())
    setting = Setting(out, data=Path(folder), networks="tiny")  # to see that it runs; without it as wide as the shipped
    for progress, total in recipes.autoencoder(setting, steps=2):
        print(f"step {progress.step} of {total}: loss {progress.losses['loss']:.3f}")
