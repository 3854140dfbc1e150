import glob,os,sys,warnings; warnings.simplefilter("ignore")
import numpy as np,torch,time; torch.set_num_threads(1)
from diffinfinite_lite import generate
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb,to_tensor
from diffinfinite_lite.models.pretrained import load_models,sampled_margin
from diffinfinite_lite.pipelines.margin import read_back
D='/root/evaltree/runs/eval/967a92bf7143/'
pool=lambda x: x.reshape(len(x),28,8,28,8,3).mean((2,4))
def stat(x):
    x=x.astype(float); p=pool(x); fine=x-p.repeat(8,1).repeat(8,2)
    return 'within %.1f fine %.1f'%(p.std((1,2)).mean(),fine.std((1,2)).mean())
if sys.argv[1]=='rec':
    for c in ('adenocarcinoma','squamous','normal'):
        real=[to_rgb(t.image) for t,_ in zip((t for t in catalog.load('lc25000-lung','test',normalised=True,one_per_cluster=True) if t.context==c),range(12))]
        ae=load_models().autoencoder; rec=[to_rgb(read_back(ae,to_tensor(x)[None],sampled_margin())[0].clamp(-1,1).detach()) for x in real]
        print(c,'real',stat(np.stack(real)),'rec',stat(np.stack(rec)),flush=True)
else:
    for name,how in (("default",{}),("eta 1 both",{"eta":1.0}),("omega .5",{"omega":.5}),("dpm 20",{"solver":"dpm-solver++"}),("noise on draft 0",{"draft_noise":0.0})):
        out={}
        t=time.time()
        for c in ('adenocarcinoma','squamous','normal'):
            f=[x for x in glob.glob(D+f"{c}-1120-0-*.npz") if 'mixture' not in x]; m=np.load(max(f,key=os.path.getmtime))['masks']
            out[c]=np.stack([generate(c,m[n],seed=n,**{"steps":20,"precision":"fp32",**how}).image for n in (1,5,9)])
        np.savez('/root/land/expt-'+name.replace(' ','_')+'.npz',**out)
        print(name,{c:stat(x) for c,x in out.items()},round(time.time()-t),flush=True)
