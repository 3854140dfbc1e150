"""Packages that only some of the library needs, and what to install where one is missing.

Sampling needs the dependencies of `pyproject.toml`. Slide files, clusters, training, metrics and the course need more;
pip installs it by name, such as ``pip install 'diffinfinite_lite[slides]'``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports of packages that come with an extra: ``with extra("slides"): import tifffile``.

    Parameters
    ----------
    name : of the extra in ``pyproject.toml``.

    Raises
    ------
    ImportError
        If a package is not installed, with the command that installs it.

    >>> with extra("slides"):
    ...     import no_such_package
    Traceback (most recent call last):
    ImportError: expected the package no_such_package, found none: pip install 'diffinfinite_lite[slides]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == __package__:
            raise  # a module of our own is missing: no extra would bring it
        command = f"pip install '{__package__}[{name}]'"
        raise ImportError(f"expected the package {package}, found none: {command}", name=package) from error
