import sys
from pathlib import Path
from diffinfinite_lite.models import checkpoint
ema,new=Path(sys.argv[1]),Path(sys.argv[2])
t,c=checkpoint.load(ema); o=checkpoint.read_origin(ema); n,_=checkpoint.load(new); print(c.keys(), o.keys(), len(t),len(n), set(t)==set(n), [ (k,t[k].dtype,n[k].dtype) for k in t if t[k].shape!=n[k].shape or t[k].dtype!=n[k].dtype][:5])
checkpoint.save(ema,n,c,o)
