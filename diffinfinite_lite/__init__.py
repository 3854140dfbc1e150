"""DiffInfinite Lite: mask-image pairs of lung tissue of any size, by latent diffusion over random patches.

    import diffinfinite_lite as dl

    pair = dl.generate("squamous", size=(1024, 1024), seed=0)    # or under a mask of your own
    pair.show()

A name is imported when it is first used, so that the sampling engine by itself needs torch and numpy only.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.report import evaluate
    from .models.pretrained import load_models
    from .pipelines.config import SamplingConfig
    from .pipelines.edit import inpaint, resynthesise
    from .pipelines.generate import generate
    from .pipelines.pair import Pair
    from .pipelines.slide import generate_slide

    __version__: str

__all__ = [
    "Pair",
    "SamplingConfig",
    "__version__",
    "evaluate",
    "generate",
    "generate_slide",
    "inpaint",
    "load_models",
    "resynthesise",
]
_MODULES = {
    "Pair": "pipelines.pair",
    "SamplingConfig": "pipelines.config",
    "evaluate": "evaluation.report",
    "generate": "pipelines.generate",
    "generate_slide": "pipelines.slide",
    "inpaint": "pipelines.edit",
    "load_models": "models.pretrained",
    "resynthesise": "pipelines.edit",
}


def __getattr__(name: str) -> Any:
    """A name of ``__all__``, imported from the module that defines it."""
    if name == "__version__":
        return version("diffinfinite_lite")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    """All public names, also those that were not imported yet."""
    return sorted({*globals(), *__all__})
