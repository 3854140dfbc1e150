import sys
sys.path.insert(0,'benchmarks')
import torch
from painting import Painter
import quality
from diffinfinite_lite.labels import CONTEXTS
from diffinfinite_lite.data.tiles import to_tensor
p=Painter({"steps":20,"solver":"ddim","plan":"mixture","omega":0.0,"precision":"bf16"},None)
N=150
masks={}
for c in ("normal",):
    _,masks[c]=p.sets(c,N,["mixture"])
T,A=quality.TILE,quality.ACROSS
size=(T*min(A,4),)*2
from functools import partial
for solver,steps in (("ddim",250),("dpm-solver++",20)):
    how={"solver":solver,"steps":steps}
    for c in reversed(CONTEXTS):
        mask=p.draw(c,size,0); p.remembered(f"{c}-{steps}-{size[0]}",partial(p.samples,mask,c,0,**how),**how); print(c,solver,flush=True)
_,masks["squamous"]=p.sets("squamous",N,["mixture"])
