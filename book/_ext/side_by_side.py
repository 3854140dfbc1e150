"""Sphinx extension: chapters run side by side before their pages are made, as many as there are cores, up to four.

Jupyter Book runs one notebook after another, each with threads on all cores, though much of a chapter keeps one core
busy. Here each chapter has its share of the cores. What it shows goes to the cache of Jupyter Book
(``execute_notebooks: cache``), which makes the page of it. As with ``force``, each chapter that is read anew runs anew:
the cache alone would not notice that the library has changed.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.console import strip_colors
from sphinx.util.display import status_iterator

MOST = 4  # a chapter takes up to two gigabytes of memory


def execute(text: str, timeout: int) -> tuple[NotebookNode, float, str | None]:
    """Run a chapter in a folder of its own: the notebook with its outputs, seconds, and what went wrong."""
    notebook = read_myst_markdown_notebook(text)
    with TemporaryDirectory() as folder:
        done = single_nb_execution(notebook, cwd=folder, timeout=timeout, allow_errors=False)
    return done.nb, done.time, done.exc_string


def run_chapters(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Run what Sphinx is about to read, and give the outputs to the cache.

    Raises
    ------
    ExtensionError : a chapter raises an error; its traceback is the message.
    """
    texts = {path: Path(path).read_text("utf8") for path in map(env.doc2path, docnames)}
    texts = {path: text for path, text in texts.items() if is_myst_markdown_notebook(text)}
    if not texts:
        return
    config = env.mystnb_config
    cache = get_cache(config.execution_cache_path)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, MOST, len(texts))
    threads = mock.patch.dict(os.environ, OMP_NUM_THREADS=str(cores // workers))
    with threads, ProcessPoolExecutor(workers) as pool:
        running = {pool.submit(execute, text, config.execution_timeout): path for path, text in texts.items()}
        for future in status_iterator(as_completed(running), "running chapters... ", length=len(running),
                                      stringify_func=lambda future: Path(running[future]).stem):  # fmt: skip
            notebook, seconds, error = future.result()
            if error:
                pool.shutdown(wait=False, cancel_futures=True)
                raise ExtensionError(f"{running[future]} failed:\n{strip_colors(error)}")
            bundle = CacheBundleIn(notebook, running[future], data={"execution_seconds": seconds})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("env-before-read-docs", run_chapters)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
