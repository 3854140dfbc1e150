"""One word, one meaning: retired words stay out of the library's signatures (docs/vocabulary.md)."""

import ast
import re
from pathlib import Path

from diffinfinite_lite.labels import LABELS

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "diffinfinite_lite"
RETIRED = {
    "apart": "stride",
    "there": "say what is present, such as labels_present",
    "told": "prompt, condition",
    "asked": "say what is wanted, such as requested or the setting's own name",
    "together": "batch",
    "kept": "say what it is: a path, a function, a slice",
    "room": "say what is checked",
    "how": "options with names of their own",
    "choice": "options with names of their own",
    "sampler": "plan",
    "scheduler": "solver for the noise, cluster for Dask's address",
    "some": "a number or the thing itself",
    "each": "the thing itself",
    "few": "a number or the thing itself",
    "made": "the thing itself",
    "said": "the thing itself",
    "tells": "the thing itself",
    "attempt": "say what is tried",
    "alike": "similarity, distance",
    "account": "cost, ledger",
    "verdict": "the result by its own name",
    "rest": "remaining, keywords by name",
}


def names(tree):
    """Names of functions, classes, parameters and annotated fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            yield from (argument.arg for argument in every if argument)
        if isinstance(node, ast.ClassDef):
            fields = (line.target for line in node.body if isinstance(line, ast.AnnAssign))
            yield from (field.id for field in fields if isinstance(field, ast.Name))


def retired():
    """Where a retired word is a name or a part of one."""
    for path in sorted(LIBRARY.rglob("*.py")):
        module = path.relative_to(LIBRARY).with_suffix("").as_posix()
        for name in sorted(set(names(ast.parse(path.read_text())))):
            if set(name.lower().split("_")) & RETIRED.keys():
                yield f"{module}: {name}"


def test_no_retired_word_is_in_a_signature():
    assert not list(retired()), f"take another word: {RETIRED}"


def test_a_retired_word_is_found_wherever_it_stands():
    code = "class A:\n    kept: int\n    def room(self, apart, *, together=1, **rest): ...\n"
    code += "def fine(show, thereby): ..."
    found = {"A", "kept", "room", "self", "apart", "together", "rest", "fine", "show", "thereby"}
    assert set(names(ast.parse(code))) == found


def listed_labels():
    """(File, numbers and names) of every list of labels in the library, the book and the documentation of today."""
    texts = [*LIBRARY.rglob("*.py"), *ROOT.glob("book/*.md"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    for path in [*texts, ROOT / "data" / "README.md"]:
        text = path.read_text("utf8")
        for begin in re.finditer(r"0 unknown,?\s+1 carcinoma", text):
            here = re.split(r"\|\n\n|\.\s", text[begin.start() :][:200])[0]
            yield path.name, [(int(n), name) for n, name in re.findall(rf"(\d) ({'|'.join(LABELS)})\b", here)]


def test_every_list_of_labels_is_the_one_of_today():
    """Four was others and air once, and a list that ends with it teaches that."""
    found = list(listed_labels())
    assert {"vocabulary.md", "README.md", "glossary.md", "annotate.py"} <= {name for name, _ in found}
    assert all(labels == list(enumerate(LABELS)) for _, labels in found), found
