import sys, time, numpy as np
from PIL import Image
import diffinfinite_lite as dl
from diffinfinite_lite.labels import CONTEXTS
import torch; torch.set_num_threads(2)
W='/root/land/weights'
from diffinfinite_lite import generate
rows=[]
for c in CONTEXTS:
    s=time.time(); p=generate(c,size=(672,672),steps=20,seed=3,weights=W,precision='bf16'); print(c,time.time()-s, p.run.get('draft_steps'))
    from diffinfinite_lite.labels import colour_mask
    rows.append(np.hstack([p.image]))
    np.save(f'sheets/mask-{c}.npy',p.mask); Image.fromarray(p.image).save(f'sheets/f-{c}.png')
    rows[-1]=np.hstack([p.image,colour_mask(p.mask)])
Image.fromarray(np.vstack(rows)).save('sheets/fields.png')
t=time.time(); dl.generate('squamous',size=(224,224),steps=20,seed=9,weights=W,precision='bf16'); print('tile',time.time()-t)
