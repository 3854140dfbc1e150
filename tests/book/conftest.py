"""The chapters' runs, shared by all tests of the book and by all processes that share the tests."""

import os

import pytest


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """One folder of this session for all its processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def runs(shared_folder):
    """Folder of the chapters' executed notebooks, see `tests.book.chapters.run`."""
    return shared_folder / "chapters"
