"""What variants are judged on, and how."""

from __future__ import annotations

from quantbento.recipe.inputs import Samples


class Evaluation(Samples):
    """The samples that variants are judged on. No quantizer sees them."""
