"""Windows on Dask workers: same bits, a killed worker, workers with other weights, a scheduler that is not there."""

import os
import signal
import socket
import threading
import time
from functools import partial

import pytest
import torch
from distributed import LocalCluster

from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.distributed import Workers
from diffinfinite_lite.sampling.plans import PLANS
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas

ALPHAS = cosine_alphas()


class Stub:
    """Its bits do not depend on how crops are batched; tells who computed what, where asked to."""

    prediction_type = "epsilon"

    def __init__(self, log=None):
        self.log = log

    def __call__(self, z, t, mask):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(0.02)
        label = mask[:, None].to(z.dtype)
        return 0.7 * z + 0.1 * (z.roll(1, -1) + label.roll(1, -2)) + 0.02 * label * z


def build(number, log=None, omega=0.5):
    return Denoiser(Stub(log), ALPHAS, omega=omega, batch_size=3)


def run(denoiser, **settings):
    mask = torch.randint(4, (40, 26), generator=torch.Generator().manual_seed(0))
    *_, level = sample(denoiser, mask, **{"channels": 2, "patch": 8, "steps": 3, "seed": 3} | settings)
    return level


@pytest.fixture(scope="module")
def address():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("plan", PLANS)
def test_result_is_that_of_one_process(address, plan, tmp_path):
    with Workers(build(0), build, cluster=address) as workers:
        many = run(workers, plan=plan, store=tmp_path, solver="dpm-solver++")
    one = run(build(0), plan=plan, solver="dpm-solver++")
    assert torch.equal(many.canvas.latents[:], one.canvas.latents)
    for count in ("evaluations", "calls", "windows", "labels", "pixels", "depth"):
        assert getattr(many.ledger, count) == getattr(one.ledger, count)
    again = run(build(0), plan=plan, store=tmp_path, solver="dpm-solver++")  # how many compute is no other run
    assert torch.equal(again.canvas.latents[:], one.canvas.latents)


def test_a_killed_worker_costs_its_windows_only(address, tmp_path):
    log, killed = tmp_path / "log", []

    def kill():
        while not log.exists() or len(log.read_text().split()) < 12:
            time.sleep(0.01)
        killed.append(log.read_text().split()[0])
        os.kill(int(killed[0]), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with Workers(build(0), partial(build, log=str(log)), cluster=address) as workers:
        workers.settings |= {"run": "killed"}  # not the denoiser of the tests before, which keeps no log
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Denoiser, "settings", property(lambda self: {}))
            many = run(workers)
    thread.join()
    one = run(build(0))
    assert torch.equal(many.canvas.latents, one.canvas.latents)
    assert many.ledger.evaluations == one.ledger.evaluations and many.ledger.calls == one.ledger.calls
    calls = log.read_text().split()
    assert one.ledger.calls <= len(calls) <= one.ledger.calls + calls.count(killed[0])
    assert len(set(calls)) >= 2


def test_a_worker_with_other_weights_is_refused(address):
    with (
        Workers(build(0, omega=0.75), build, cluster=address) as workers,
        pytest.raises(ValueError, match=r"expected the caller's omega on worker .*, got 0.5: all machines need"),
    ):
        run(workers)


def test_processes_of_this_machine(tmp_path):
    with Workers(build(0), build, workers=1) as workers:
        many = run(workers)
    assert torch.equal(many.canvas.latents, run(build(0)).canvas.latents)


def test_a_scheduler_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("diffinfinite_lite.sampling.distributed.PATIENCE", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for address in (nobody, "carrier-pigeon://loft"):
        with (
            pytest.raises(OSError, match=f"expected a Dask scheduler at {address}, got no answer in 1 s") as caught,
            Workers(build(0), build, cluster=address),
        ):
            pass
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asked", [{}, {"workers": 0}, {"cluster": "tcp://a:1", "workers": 2}])
def test_either_a_cluster_or_processes(asked):
    with pytest.raises(ValueError, match="expected the address of a cluster or a number of workers from 1"):
        Workers(build(0), build, **asked)
