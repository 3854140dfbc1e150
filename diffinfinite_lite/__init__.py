"""DiffInfinite Lite: mask-image pairs of lung tissue of any size, by latent diffusion over random patches."""

__all__ = ["Pair", "generate"]


def __getattr__(name: str):
    """`Pair` and `generate`, imported when asked for: the sampling engine by itself needs torch and numpy only."""
    if name == "Pair":
        from .pipelines.pair import Pair

        return Pair
    if name == "generate":
        from .pipelines.generate import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
