"""Photographs into features, and features against references, by Fusee engines."""

from assay.vision.comparer import Comparer
from assay.vision.lenses import open_lens

__all__ = ["Comparer", "open_lens"]
