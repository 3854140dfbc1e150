import torch,time,sys
torch.set_num_threads(int(sys.argv[1])); bf=sys.argv[2]=="bf16"; B=16
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.pretrained import load_models
m=Detail.begun(load_models().image).train().to(memory_format=torch.channels_last)
opt=torch.optim.AdamW(m.parameters(),fused=True)
print(m.latent_channels, getattr(m,'beside',None))
z=torch.randn(B,m.latent_channels+getattr(m,'beside',0),28,28)
c=torch.randint(0,3,(B,28,28)); t=torch.randint(0,1000,(B,))
def step():
    with torch.autocast('cpu',torch.bfloat16,enabled=bf):
        l=m(z,t,c).float().square().mean()
    l.backward(); opt.step(); opt.zero_grad()
for _ in range(2): step()
s=time.time(); n=5
for _ in range(n): step()
print(sys.argv[1:], (time.time()-s)/n)
