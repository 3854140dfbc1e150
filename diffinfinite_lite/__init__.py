"""DiffInfinite Lite: mask-image pairs of lung tissue of any size, by latent diffusion over random patches."""

from .pair import Pair
from .pipeline import generate

__all__ = ["Pair", "generate"]
