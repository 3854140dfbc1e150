"""What an installation needs: every import is declared, and sampling runs with nothing but the base installed."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "diffinfinite_lite"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = re.compile(r"[A-Za-z0-9._-]+")
OPTIONAL = (
    *("accelerate", "pooch", "tifffile", "openslide", "imagecodecs", "zarr", "distributed", "dask", "h5py"),
    *("sklearn", "statsmodels", "pandas", "matplotlib", "panel", "holoviews", "bokeh", "ipywidgets", "IPython"),
)
POSIX = ("fcntl", "resource")


def distribution(requirement):
    return NAME.match(requirement)[0].lower().replace("_", "-")


def needs(extra):
    """Distributions of an extra and of the extras that it names."""
    found = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        if named := re.fullmatch(r"diffinfinite_lite\[(.+)\]", requirement):
            found |= {name for other in named[1].split(",") for name in needs(other)}
        else:
            found.add(distribution(requirement))
    return found


def imports(tree, extra=None):
    """(top package, extra that its import stands under or None) of a module's absolute imports.

    Those in a `try` are left out: they say themselves what is missing.
    """
    for node in ast.iter_child_nodes(tree):
        under = extra
        if isinstance(node, ast.With):
            for item in node.items:
                call = item.context_expr
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "extra":
                    under = call.args[0].value
        if isinstance(node, ast.Try) or (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], extra) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0], extra
        else:
            yield from imports(node, under)


def test_every_import_is_declared_where_it_is_needed():
    base, distributions = {distribution(each) for each in PROJECT["dependencies"]}, packages_distributions()
    missing = []
    for path in sorted(LIBRARY.rglob("*.py")):
        found = list(imports(ast.parse(path.read_text())))
        guarded = {package: extra for package, extra in found if extra}  # once a module is enough
        for package, _ in found:
            if package in sys.stdlib_module_names or package == "diffinfinite_lite":
                continue
            names = {name.lower().replace("_", "-") for name in distributions[package]}
            if not names & (base | (needs(guarded[package]) if package in guarded else set())):
                missing.append(f"{path.relative_to(LIBRARY)}: {package} ({guarded.get(package, 'base')})")
    assert not missing, "declare these in pyproject.toml, or import them under `with extra(...)`"


def test_requirements_pin_all_of_them():
    pinned = {distribution(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    declared = {distribution(each) for each in PROJECT["dependencies"]}
    declared |= {name for extra in PROJECT["optional-dependencies"] for name in needs(extra)}
    assert declared <= pinned


def without(hidden, code, **kwargs):
    """Run code in a process that cannot import some modules."""
    # psutil first: its Linux part needs `resource`
    hide = f"import sys, psutil; sys.modules.update(dict.fromkeys({hidden!r}))\n"
    return subprocess.run([sys.executable, "-c", hide + code], text=True, capture_output=True, timeout=300, **kwargs)


SAMPLE = """
import importlib
for name in ("sampling.loop", "sampling.store", "pipelines.edit", "pipelines.generate", "cli"):
    importlib.import_module(f"diffinfinite_lite.{name}")
sys.argv = "diffinfinite sample --context normal --size 64x64 --steps 1 --device cpu --out out".split()
from diffinfinite_lite.cli import main
main()
"""


@pytest.mark.parametrize("hidden", [OPTIONAL, POSIX])
def test_sampling_needs_no_extra_and_no_posix(hidden, tmp_path):
    done = without(hidden, SAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/image.png").exists()
    assert "64 x 64 px" in done.stdout and " 0 MB at most" not in done.stdout


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("tifffile", "slides", "slide --context normal --size 64x64 --store s --out out"),
        ("accelerate", "train", "train mask"),
        ("pooch", "train", "data list"),
        ("sklearn", "evaluate", "evaluate --real a --synthetic b --out out"),
    ],
)
def test_a_missing_extra_is_one_sentence_that_says_what_to_install(package, extra, command, tmp_path):
    code = f"sys.argv = ['diffinfinite', *{command.split()!r}]\nfrom diffinfinite_lite.cli import main\nmain()"
    done = without((package,), code, cwd=tmp_path)
    assert done.returncode == 1
    expected = f"diffinfinite: expected the package {package}, found none: pip install 'diffinfinite_lite[{extra}]'\n"
    assert done.stderr == expected
    assert not list(tmp_path.iterdir())
