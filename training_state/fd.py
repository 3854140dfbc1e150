"""fd.py NAME...: each set of tiles against training tiles of other clusters than the real ones beside them; both rulers, whole tiles."""
import sys,warnings; warnings.simplefilter("ignore")
import numpy as np,torch; torch.set_num_threads(1)
from pathlib import Path
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb,to_tensor
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import efficientnet_features, HandcraftedFeatures, Standardiser
names=('adenocarcinoma','squamous','normal'); N=int(sys.argv[1])
C=Path(f'/root/trial/ref{N}.npz')
E=dict(eff=efficientnet_features(),hand=HandcraftedFeatures())
feats=lambda e,s: np.asarray(e([to_tensor(x) for x in s]))
if not C.exists():
    own={c:[] for c in names}
    for t in catalog.load('lc25000-lung','train',normalised=True,one_per_cluster=True): own[t.context].append(to_rgb(t.image)[:224,:224])
    print({c:len(x) for c,x in own.items()},flush=True)
    g=np.random.default_rng(0); R,T=[],[]
    for c in names:
        o=g.permutation(len(own[c])); R+=[own[c][i] for i in o[:N]]; T+=[own[c][i] for i in o[N:N+max(N,len(o)-N)]][:100]
    np.savez(C,**{k+n:feats(e,s) for n,e in E.items() for k,s in (('T',T),('R',R))})
z=np.load(C)
import os; M=int(os.environ.get("M",N))
for name in sys.argv[2:]:
    x=np.load(f'/root/trial/{name}.npz'); x=[x[c][:M] for c in names]; n=len(x[0])
    for k,e in E.items():
        S=Standardiser.fit(z['T'+k]); t,r=S(z['T'+k]),S(z['R'+k]); m=S(feats(e,np.concatenate(x)))
        r=r.reshape(3,-1,r.shape[1])[:,:n].reshape(-1,r.shape[1])
        base,f=fidelity.frechet_distance(t,r),fidelity.frechet_distance(t,m); pr,rr=fidelity.precision_recall(t,m),fidelity.precision_recall(t,r)
        print(name,k,n,'base %.1f made %.1f ratio %.2f precision %.2f recall %.2f'%(base,f,f/base,pr.precision/rr.precision,pr.recall/rr.recall),[round(fidelity.frechet_distance(t,m[i*n:(i+1)*n])/fidelity.frechet_distance(t,r[i*n:(i+1)*n]),2) for i in range(3)],flush=True)
