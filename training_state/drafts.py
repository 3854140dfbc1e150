"""drafts.py NAME [key=value]: drafts alone, 40 a context, their distance as thumbnails; solver, draft_steps, eta, omega, dgain."""
import os,sys,time,warnings; warnings.simplefilter("ignore")
import numpy as np,torch; torch.set_num_threads(1)
from torch.nn import functional as F
from diffinfinite_lite.labels import conditions
from diffinfinite_lite.models.pretrained import load_models,load_draft
from diffinfinite_lite.pipelines import stages
from diffinfinite_lite.pipelines.config import SamplingConfig,configure
from diffinfinite_lite.pipelines.margin import mirrored,without
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.models.efficientnet import EfficientNetLite0
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import Standardiser
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb
names=('adenocarcinoma','squamous','normal'); N=40
masks=np.load('/root/trial/masks.npz')
models,d=load_models(),load_draft(); net=EfficientNetLite0.pretrained().eval()
def feats(small):
    out=[]
    with torch.no_grad():
        for part in torch.from_numpy(small).permute(0,3,1,2).float().div(127.5).sub(1).split(16):
            big=F.interpolate(part,size=112,mode='bicubic').clamp(-1,1)
            out.append(torch.cat([x.mean((2,3)) for x in net.taps(big)[-3:]],1))
    return torch.cat(out).double().numpy()
C='/root/trial/refd.npz'
if not os.path.exists(C):
    own={c:[] for c in names}
    for t in catalog.load('lc25000-lung','train',normalised=True,one_per_cluster=True): own[t.context].append(to_rgb(t.image)[:224,:224].astype(float).reshape(28,8,28,8,3).mean((1,3)))
    g=np.random.default_rng(0); R,T=[],[]
    for c in names:
        o=g.permutation(len(own[c])); R+=[own[c][i] for i in o[:N]]; T+=[own[c][i] for i in o[N:N+100]]
    R,T=np.stack(R),np.stack(T); print('real',[round(R[k*N:(k+1)*N].std((1,2)).mean(),1) for k in range(3)],'mean',[R[k*N:(k+1)*N].mean((0,1,2)).round().tolist() for k in range(3)])
    np.savez(C,T=feats(T),R=feats(R))
z=np.load(C); S=Standardiser.fit(z['T']); t,r=S(z['T']),S(z['R']); base=fidelity.frechet_distance(t,r); rr=fidelity.precision_recall(t,r)
for spec in sys.argv[1:]:
    how=dict(a.split('=') for a in spec.split(',')); d.network.gain=float(how.pop('dgain',1)); late=how.pop('sigma',None)
    kw={k:(v if k=='solver' else int(v) if k=='draft_steps' else float(v)) for k,v in how.items()}
    t0=time.time()
    made=[]
    for c in names:
        for n in range(N):
            m=masks[c][n]
            cfg=configure(None,{'steps':4,'precision':'fp32','seed':n,'draft_steps':20}|kw,None,(224,224))
            st=stages.find_stages(models,cfg,c,None,'cpu')[0]; den=stages.make_denoiser(st,cfg,'cpu')
            for level in sample(den,mirrored(conditions(m,c),st.margin),st.method,channels=3,beside=st.beside(None)): pass
            small=st.autoencoder.small(without(level.canvas.latents[:],st.margin))
            made.append(to_rgb(small))
    made=np.stack(made); m=S(feats(made)); pr=fidelity.precision_recall(t,m)
    print(spec,'ratio %.2f precision %.2f recall %.2f'%(fidelity.frechet_distance(t,m)/base,pr.precision,pr.recall),[round(fidelity.frechet_distance(t,m[i*N:(i+1)*N])/fidelity.frechet_distance(t,r[i*N:(i+1)*N]),2) for i in range(3)],'contrast',[round(made[k*N:(k+1)*N].astype(float).std((1,2)).mean(),1) for k in range(3)],'mean',[made[k*N:(k+1)*N].mean((0,1,2)).round().tolist() for k in range(3)],round(time.time()-t0),flush=True)
print('real recall %.2f'%rr.recall)
