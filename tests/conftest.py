"""What several tests share: toy networks (`toys`), and which tests are slow."""

import importlib
import os
import shutil
from pathlib import Path

import pytest

from diffinfinite_lite.models import pretrained
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.solvers import cosine_alphas
from tests import toys

ROOT = Path(__file__).parents[1]
SLOW = tuple(
    line for line in (Path(__file__).parent / "slow.txt").read_text().splitlines() if line and not line.startswith("#")
)
CHAPTERS, PAGES = "tests/book/test_chapters.py::", "tests/book/test_site.py::"


def pytest_ignore_collect(collection_path, config):
    """Where slow tests are left out, folders and files of nothing else are not even imported: that takes seconds."""
    name = collection_path.relative_to(ROOT).as_posix() + "/" * collection_path.is_dir()
    return True if config.option.markexpr == "not slow" and name in SLOW else None


def pytest_collection_modifyitems(items):
    """Mark what tests/slow.txt lists, and begin with what is waited for."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items[:] = dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def dealt(items, workers):
    """The tests in an order in which processes that share them do not wait for each other at the end.

    Tests of pages wait for all chapters and then for one process that builds the site. Each process gets one stretch of
    the list, all equally long: it begins with some of the chapters, and the last one goes on with the pages.
    """
    if workers == 1:
        return items
    chapters, pages, others = [], [], []
    for item in items:
        kind = chapters if item.nodeid.startswith(CHAPTERS) else pages if item.nodeid.startswith(PAGES) else others
        kind.append(item)
    stretches = [chapters[n::workers] for n in range(workers)]
    stretches[-1] += pages
    for n, stretch in enumerate(stretches):
        length = (len(items) - sum(map(len, stretches[:n]))) // (workers - n)
        more = max(0, length - len(stretch))
        stretch += others[:more]
        del others[:more]
    return [item for stretch in stretches for item in stretch]


@pytest.fixture(scope="session")
def diffusers():
    """The package that others are compared with. It takes seconds to import: only where a test asks for it."""
    return importlib.import_module("diffusers")


@pytest.fixture
def alphas():
    """The noise schedule of the shipped model, (1000,)."""
    return cosine_alphas()


@pytest.fixture
def toy_network():
    """Noise estimates that do not depend on how windows are batched, see `toys.Arithmetic`."""
    return toys.Arithmetic()


@pytest.fixture
def toy_denoiser(toy_network, alphas):
    """`Denoiser` of the toy network with ω = 0.5, three evaluations a batch."""
    return Denoiser(toy_network, alphas, omega=0.5, batch_size=3)


@pytest.fixture
def toy_autoencoder():
    """An autoencoder of means, see `toys.Averages`."""
    return toys.Averages()


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """Folder of a model with the real architectures, few channels and random weights; its patch is 64 px."""
    return toys.tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def one_stage(tiny_weights):
    """Whoever names no weights gets those of `tiny_weights`, whatever is shipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "WEIGHTS", tiny_weights)
        yield


@pytest.fixture(scope="session")
def trained_on(tiny_weights, tmp_path_factory):
    """Folder of a tiny model whose decoder was trained on, in a file of its own."""
    return toys.train_on(shutil.copytree(tiny_weights, tmp_path_factory.mktemp("trained_on") / "weights"))


@pytest.fixture(scope="session")
def student_weights(tmp_path_factory):
    """Folder of such a model with a draft and a student of each stage."""
    return toys.tiny_model(tmp_path_factory.mktemp("students"), draft=True, students=True)


@pytest.fixture(scope="session")
def two_stage_weights(tmp_path_factory):
    """Folder of such a model that has a draft, too."""
    return toys.tiny_model(tmp_path_factory.mktemp("two_stages"), draft=True)
