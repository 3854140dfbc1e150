from pathlib import Path
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.pretrained import load_models
d=Detail.begun(load_models().image)
t,_=checkpoint.load(Path('detail_new_half.safetensors'))
checkpoint.save(Path('dry/detail/ema.safetensors'),t,d.config,{})
t,c=checkpoint.load(Path('b_e470a50/training_state/mask_ema_half.safetensors')); print('mask',c)
checkpoint.save(Path('dry/mask/ema.safetensors'),t,c,{})
