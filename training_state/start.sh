#!/bin/bash
# start.sh NAME PRIORITY STEPS
cd /root/tissue
export PYTHONPATH=/root/tissue/repo OMP_NUM_THREADS=1 DIFFINFINITE_DATA=/work/shared/data
setsid nohup /work/main/.venv/bin/python -m diffinfinite_lite.cli train $1 --out /root/tissue/stages --device cpu --steps $3 >> $1.log 2>&1 &
P=$!
sleep 1; echo $2 > /proc/$P/autogroup; echo $P > $1.pid
