cd /root/evaltree; export PYTHONPATH=/root/evaltree OMP_NUM_THREADS=1 DIFFINFINITE_DATA=/work/shared/data; P=/work/main/.venv/bin/python
$P benchmarks/labels.py --sheet /root/land/sheets/labels.png > /root/land/labels.log 2>&1
$P benchmarks/guidance.py --sheet /root/land/sheets/guidance.png > /root/land/guidance.log 2>&1
$P benchmarks/lattices.py > /root/land/lattices.log 2>&1
$P benchmarks/tables.py > /root/land/tables.log 2>&1
