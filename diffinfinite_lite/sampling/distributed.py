r"""Many machines: the windows of a level are denoised wherever there is a worker.

Within a level no window depends on another (`loop`), so that its batches can be computed anywhere and in any
order. `Workers` has the shape of a `denoiser.Denoiser` and takes its place in `sample.sample`: it sends the same
batches to Dask workers that the denoiser would have computed itself, and hands the estimates back in the same order.
The canvas stays with the caller, where every pixel sees the same additions: the result is that of one process.

A worker that dies loses the batches it held; Dask gives these to another one. Each worker process builds its network
once, from what it finds on its own machine, and refuses to go on with other weights than the caller's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..extras import extra
from .denoiser import Estimator
from .store import digest

PATIENCE = 10  # seconds that a scheduler or a first worker may take to answer
_lock = threading.Lock()
_built: dict[str, Any] = {}  # the denoiser of this worker process, by the digest of its settings


class Workers:
    """A denoiser whose network runs on Dask workers; a context manager.

    Parameters
    ----------
    denoiser : the same denoiser here, which says what batches are like and which settings workers must have
    build : called once in every worker process with the worker's number, 0, 1, ..., returns its denoiser; has to be
        picklable. Numbers count the workers of a local cluster, one per GPU for example; on other clusters it is 0
    cluster : address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``
    workers : without a cluster, how many processes to start on this machine

    Raises
    ------
    ValueError : neither a cluster nor a worker is asked for, or (while sampling) a worker has other weights.
    OSError : no scheduler or no worker answers, or (while sampling) none is left.
    """

    def __init__(
        self,
        denoiser: Estimator,
        build: Callable[[int], Estimator],
        *,
        cluster: str | None = None,
        workers: int | None = None,
    ) -> None:
        if (cluster is None) == (workers is None) or (workers is not None and workers < 1):
            raise ValueError(
                "expected the address of a cluster or a number of workers from 1, "
                f"got cluster={cluster} and workers={workers}"
            )
        self.alphas_cumprod, self.batch_size = denoiser.alphas_cumprod, denoiser.batch_size
        self.settings, self.ledger = denoiser.settings, denoiser.ledger
        self._build, self._address, self._workers = build, cluster, workers

    def __enter__(self) -> Workers:
        with extra("cluster"):
            from distributed import Client, LocalCluster

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is said in one sentence here
        if self._address is None:
            self._cluster = LocalCluster(
                n_workers=self._workers, threads_per_worker=1, dashboard_address=":0", memory_limit=None
            )
            self._client = Client(self._cluster)
            return self
        self._cluster = None
        try:
            self._client = Client(self._address, timeout=PATIENCE)
        except (OSError, ValueError, TimeoutError) as error:
            raise OSError(f"expected a Dask scheduler at {self._address}, got no answer in {PATIENCE} s") from error
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            self._client.close()
            raise OSError(f"expected a worker at {self._address}, found none in {PATIENCE} s") from error
        return self

    def for_another(self, denoiser: Estimator, build: Callable[[int], Estimator]) -> Workers:
        """The same machines with another denoiser, after this one has done its work; nothing more to enter or leave."""
        other = copy(self)
        other.alphas_cumprod, other.batch_size = denoiser.alphas_cumprod, denoiser.batch_size
        other.settings, other.ledger, other._build = denoiser.settings, denoiser.ledger, build
        return other

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def map(self, batches: Iterable[tuple[Tensor, int, Tensor]]) -> Iterator[Tensor]:
        """Noise estimates of batches in their order; see `Denoiser.map`. All batches are sent at once.

        The ledger's ``network_seconds`` are those spent waiting for workers.
        """
        from distributed import CancelledError, KilledWorker

        waiting = deque(
            self._client.submit(_denoise, self._build, self.settings, z.numpy(), t, mask.numpy(), pure=False)
            for z, t, mask in batches
        )
        while waiting:
            began = time.perf_counter()
            try:
                eps, cost = waiting.popleft().result()
            except (CancelledError, KilledWorker) as error:
                raise OSError(
                    "expected workers that stay, but the scheduler or several workers in a row went away; "
                    "a run with a store goes on from its last level with the same command"
                ) from error
            self.ledger += replace(cost, network_seconds=time.perf_counter() - began)
            yield torch.from_numpy(eps)


def _denoise(
    build: Callable[[int], Any], settings: dict, z: np.ndarray, t: int, mask: np.ndarray
) -> tuple[np.ndarray, Any]:
    """In a worker: estimate of one batch and what it has cost."""
    from distributed import get_worker

    name, key = get_worker().name, digest(settings)
    with _lock:  # one batch at a time, however many threads the worker has: the network uses them itself
        if key not in _built:
            denoiser = build(name if isinstance(name, int) else 0)
            different = [word for word, value in denoiser.settings.items() if settings.get(word) != value]
            if different:
                raise ValueError(
                    f"expected the caller's {different[0]} on worker {name}, got {denoiser.settings[different[0]]}: "
                    "all machines need the same version and the same weights"
                )
            _built.clear()
            _built[key] = denoiser
        denoiser = _built[key]
        before = denoiser.ledger
        # copies: what comes over the network cannot be written to
        (eps,) = denoiser.map([(torch.from_numpy(z.copy()), t, torch.from_numpy(mask.copy()))])
        return eps.numpy(), denoiser.ledger - before
