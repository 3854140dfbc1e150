set -ex
cd /root/land; export PYTHONPATH=/root/base OMP_NUM_THREADS=1; P=/work/main/.venv/bin/python
$P f237/training_state/pack.py unpack f237/training_state/draft.pack e470/training_state/draft_ema_half.safetensors draft_8271.safetensors
$P f237/training_state/detail_begin.py
$P f237/training_state/pack.py unpack f237/training_state/detail.pack detail_ema_half.safetensors detail_5043.safetensors
$P training_state/pack.py unpack training_state/draft.pack draft_8271.safetensors draft_new_half.safetensors
$P training_state/pack.py unpack training_state/detail.pack detail_5043.safetensors detail_new_half.safetensors
ls -la
