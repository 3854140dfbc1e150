"""Code on a page: what is shown is what the library runs, less its docstrings."""

import ast
import inspect
import textwrap

import pytest

from diffinfinite_lite.models.unet import MaskAttention, ResidualBlock
from diffinfinite_lite.sampling.guidance import ClassifierFree
from diffinfinite_lite.sampling.loop import run
from diffinfinite_lite.sampling.plans import random_patch
from diffinfinite_lite.training.losses import image_loss
from diffinfinite_lite.widgets.listing import listing, without_docstrings

SHOWN = (run, random_patch, image_loss, ClassifierFree, ResidualBlock, MaskAttention)


def stripped(code):
    """Syntax tree without docstrings."""
    tree = ast.parse(textwrap.dedent(code))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            del node.body[0]
    return ast.dump(tree)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.__name__)
def test_what_is_shown_is_what_runs(shown):
    code = listing(shown).data.split("```python\n")[1].split("\n```")[0]
    assert stripped(code) == stripped(inspect.getsource(shown))
    assert '"""' not in code


def test_a_body_that_is_a_docstring_alone_stays():
    assert without_docstrings('def f():\n    "Nothing."') == 'def f():\n    "Nothing."'


def test_two_objects_stand_under_their_files():
    lines = listing(run, random_patch).data.splitlines()
    assert [line for line in lines if line.startswith("`diff")] == [
        "`diffinfinite_lite/sampling/loop.py`", "`diffinfinite_lite/sampling/plans.py`"]  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "message"), [((), "got none"), ((ast.walk,), "of diffinfinite_lite, got <function")]
)
def test_bad_input_is_one_sentence(objects, message):
    with pytest.raises(ValueError, match=message):
        listing(*objects)
