import sys,glob,os,warnings; warnings.simplefilter("ignore"); sys.path.insert(0,'benchmarks')
import numpy as np,torch; torch.set_num_threads(1)
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb,to_tensor
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import efficientnet_features, HandcraftedFeatures, Standardiser, Cached
D='runs/eval/967a92bf7143/'; names=('adenocarcinoma','squamous','normal'); N=48
made=[]
for c in names:
    own=[]
    for s in (0,1):
        f=[x for x in glob.glob(D+f"{c}-1120-{s}-*.npz") if 'mixture' not in x]; own+=list(np.load(max(f,key=os.path.getmtime))["generated"])
    made+=own[:N]
made=np.stack(made)
test={}
for t in catalog.load('lc25000-lung','test',normalised=True): test.setdefault(t.cluster,[]).append(t)
test=[t for v in test.values() for t in v[:2]]
train={c:[] for c in names}; seen=set()
for t in catalog.load('lc25000-lung','train',normalised=True,one_per_cluster=True):
    if len(train[t.context])<N: train[t.context].append(t)
train=[t for c in names for t in train[c]]
T=np.stack([to_rgb(t.image) for t in test]); R=np.stack([to_rgb(t.image) for t in train])
print(len(T),len(R),len(made),flush=True)
for crop in (32,0):
    cut=lambda x: x[:,crop:224-crop,crop:224-crop]
    for name,e in (("eff",efficientnet_features()),("hand",HandcraftedFeatures())):
        F=[np.asarray(e([to_tensor(x) for x in cut(s)])) for s in (T,R,made)]
        S=Standardiser.fit(F[0]); t,r,m=[S(f) for f in F]
        base=fidelity.frechet_distance(t,r); f=fidelity.frechet_distance(t,m)
        pr=fidelity.precision_recall(t,m); rr=fidelity.precision_recall(t,r)
        print(crop,name,'base %.1f made %.1f ratio %.2f recall %.2f'%(base,f,f/base,pr.recall/rr.recall),[round(fidelity.frechet_distance(t,m[k*N:(k+1)*N])/fidelity.frechet_distance(t,r[k*N:(k+1)*N]),2) for k in range(3)],flush=True)
