"""Sphinx extension: the API reference lists every module, grouped by the layers of ``pyproject.toml``.

A comment ``% modules N`` in a page is replaced by one section for each module of layer N (0 is the highest), with its
docstrings (autodoc, napoleon). Nothing has to be added when a module is.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^% modules (\d)$", re.MULTILINE)
OPTION = re.compile(r"~?[\w.]*\bAnnotated\[(.+?), <typer\.[\w.]+ object at 0x[0-9a-f]+>\]")


def layers(package: Path, project: Path) -> list[list[str]]:
    """Modules that exist, by layer, the highest first; those that no layer names join the highest."""
    contract = tomllib.loads(project.read_text("utf8"))["tool"]["importlinter"]["contracts"][0]
    there = {path.stem for path in package.glob("*.py")} - {"__init__"}
    found = [[name for name in re.findall(r"\w+", layer) if name in there] for layer in contract["layers"]]
    found[0] += there - {name for layer in found for name in layer}
    return [sorted(layer) for layer in found]


def sections(modules: list[str], package: str = "diffinfinite_lite") -> str:
    """MyST text of the reference of some modules."""
    return "\n".join(
        f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {package}.{name}\n   :members:\n"
        f"   :show-inheritance:\n   :member-order: bysource\n```\n"
        for name in modules
    )


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    if MARK.search(source[0]):
        modules = layers(ROOT / "diffinfinite_lite", ROOT / "pyproject.toml")
        source[0] = MARK.sub(lambda mark: sections(modules[int(mark[1])]), source[0])


def examples(lines: list[str]) -> list[str]:
    """A docstring whose doctests after a section ("Parameters", "Raises") stand under a heading of their own.

    >>> examples(["Raises", "------", "ValueError : no.", "", ">>> 1", "1"])[3:7]
    ['', 'Examples', '--------', '>>> 1']
    """
    out: list[str] = []
    for number, line in enumerate(lines):
        underlined = any(re.fullmatch(r"-{3,}", earlier) for earlier in out)
        if line.startswith(">>>") and underlined and not lines[number - 1].strip() and "Examples" not in out:
            out += ["Examples", "--------"]
        out.append(line)
    return out


def literal(lines: list[str]) -> list[str]:
    """A docstring whose indented blocks (formulas, small tables) are shown as they are typed.

    >>> literal(["Loss:", "", "    L = |x|", "", "More."])[2:5]
    ['::', '', '    L = |x|']
    """
    out: list[str] = []
    inside = False
    for number, line in enumerate(lines):
        deep = line.startswith("    ")
        if deep and not inside and number and not lines[number - 1].strip():
            out += ["::", ""]
        inside = deep or (inside and not line.strip())
        out.append(line)
    return out


def without_options(signature: str) -> str:
    """A signature with the types of a command's parameters, without the objects that describe its options.

    >>> without_options("(a: ~types.Annotated[str | None, <typer.models.OptionInfo object at 0x7f88>] = None, b: int)")
    '(a: str | None = None, b: int)'
    """
    return OPTION.sub(r"\1", signature)


def _signature(app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returned: str):
    return signature and without_options(signature), returned


def _docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = literal(lines) if what == "module" else examples(lines)
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", " \u2013 ", 1)  # napoleon would take what precedes a colon for a type


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.connect("source-read", _read)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
