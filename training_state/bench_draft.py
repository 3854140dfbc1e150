import torch,time,sys
torch.set_num_threads(int(sys.argv[1])); bf=sys.argv[2]=="bf16"; B=int(sys.argv[3])
from diffinfinite_lite.models.draft import Draft
m=Draft((64,128,192)).to(memory_format=torch.channels_last)
print(sum(p.numel() for p in m.parameters()))
opt=torch.optim.AdamW(m.parameters(),fused=True)
import contextlib
z=torch.randn(B,m.latent_channels+m.beside,28,28); z[:,3:]=z[:,3:].mean((2,3),keepdim=True)
c=torch.randn(B,1,28,28)
import inspect
from diffinfinite_lite.labels import condition_map,LABELS
c=torch.randint(0,3,(B,28,28))
t=torch.randint(0,1000,(B,))
def step():
    with torch.autocast('cpu',torch.bfloat16,enabled=bf):
        l=m(z,t,c).float().square().mean()
    l.backward(); opt.step(); opt.zero_grad()
for _ in range(2): step()
s=time.time(); n=6
for _ in range(n): step()
print(sys.argv[1:], (time.time()-s)/n)
