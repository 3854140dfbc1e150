import numpy as np,glob
from PIL import Image
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb
rows=[]
for c in ('adenocarcinoma','squamous','normal'):
    f=sorted(g for g in glob.glob(f'/root/evaltree/runs/eval/1c6d0c22a3c5/{c}-1120-?-*.npz') if 'mixture' not in g and 'random' not in g)
    t=np.concatenate([np.load(g)['generated'] for g in f[:2]])
    i=np.random.default_rng(0).permutation(len(t))[:10]
    rng=np.random.default_rng(0)
    real=[to_rgb(x.image) for x in catalog.load('lc25000-lung',split='test',normalised=True,one_per_cluster=True,limit=400,generator=rng) if x.context==c][:10]
    for part in (real,list(t[i])):
        rows.append(np.hstack([x[:224,:224] for x in part[:10]]))
Image.fromarray(np.vstack(rows)).save('sheets/contact.png')
