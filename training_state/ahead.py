"""Paints from the other end what quality.py will ask for: run it beside, in the tree that is measured. ahead.py PRECISION"""
import sys,glob,warnings
sys.path.insert(0,'benchmarks'); warnings.simplefilter("ignore")
import torch, numpy as np; torch.set_num_threads(1)
from painting import Painter, PARTS, TILE, ACROSS, CANVASES
from diffinfinite_lite.evaluation.inputs import cut_canvas
import quality
from quality import *
side=TILE*ACROSS
p=Painter({"steps":20,"solver":"dpm-solver++","plan":"mixture","omega":0.0,"precision":sys.argv[1]},None)
def busy(name): return any(True for _ in PARTS.glob(f"*/{name}-*.partial"))   # the other process is at it
def one(c,seed):
    name=f"{c}-{side}-{seed}"
    if busy(name): return None
    def make():
        m=p.draw(c,(side,side),seed)
        return {"masks":np.stack(cut_canvas(m,(TILE,TILE))),"mask":m,**p.samples(m,c,seed)}
    f=p.remembered(name,make)
    p.remembered(f"{name}-mixture",lambda:{"tiles":np.stack(cut_canvas(p.paint(c,f["mask"],seed,plan="mixture").image,(TILE,TILE)))},plan="mixture")
    print(name,flush=True); return f
for seed in reversed(range(3)): one("normal",seed)
for seed in reversed(range(3)): one("squamous",seed)
real=read_real(np.random.default_rng(0),None)
others={CONTEXTS[0]:CONTEXTS[1],CONTEXTS[1]:CONTEXTS[0]}
for c in reversed(CONTEXTS):
    own=[t for t in real["test clusters"] if t.context==c][:quality.ANNOTATED]
    p.under(c,[annotate(to_rgb(t.image),c) for t in own])
    if f:=one(c,0): p.twice(c,others.get(c),list(f["masks"])[:PAIRED])
    print("under, twice",c,flush=True)
ext=[Cached(efficientnet_features(),FEATURES),Cached(HandcraftedFeatures(),FEATURES),Cached(independent(Path('/root/land/open-nsfw.onnx')),FEATURES)]
rec=reconstruct([x.image for x in real["train"]],None)
for e in ext:
    for part in (*real.values(),): e([x.image for x in part])
    e(rec); print("features",e.name,flush=True)
