"""DiffInfinite Lite: mask-image pairs of lung tissue of any size, by latent diffusion over random patches."""

from .pipeline import Pair, generate

__all__ = ["Pair", "generate"]
