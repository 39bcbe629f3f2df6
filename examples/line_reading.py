"""A task: reading lines of text with a recogniser that names a character for each step (CTC), as those of PP-OCR do.

The scores of a step are of nothing (the blank) first, then of the characters that the ONNX file lists in its metadata,
and of a space last. A text is the best of each step, where repeated ones count once and blanks are left out (Graves et
al. 2006). Variants are judged by the characters that they read right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.resampled import resampled_output_metrics
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.tensor import TensorTask
from quantbento.tasks.tensor.options import TensorOptions

BLANK, SPACE = "", " "
METADATA = "character"  # one a line


class LineReading(TensorTask):
    name = "line-reading"
    starts_from = ("onnx",)
    metrics = {
        "character_accuracy": Metric(+1, labelled=True),
        "agreement": Metric(+1),
        "sqnr_db": Metric(+1, recovers=False),
        "max_error": Metric(-1, recovers=False),
    }
    primary = ("character_accuracy", "agreement")

    @classmethod
    def create(cls, source: SourceModel, options: TensorOptions, samples: SampleSet) -> Self:
        import onnx

        task = super().create(source, options, samples)
        model = onnx.load(source.onnx, load_external_data=False)
        listed = next((entry.value for entry in model.metadata_props if entry.key == METADATA), None)
        if listed is None:
            raise QuantbentoError(f"{source.onnx} lists no characters: its metadata has no {METADATA!r}")
        task.labels = [BLANK, *listed.splitlines(), SPACE]
        return task

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[str]:
        return [self._text(steps) for steps in self._best(rows)]

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "string"}

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        """`agreement` is the share of steps whose best character is the same. With the true texts as labels,
        `character_accuracy` is 1 - edits / characters; spaces do not count, as in PP-OCR's own metric."""
        return self.resampler(baseline, variant, labels)(np.arange(len(self._best(baseline))))

    def resampler(
        self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None
    ) -> Callable[[np.ndarray], dict[str, float]]:
        apart, other = resampled_output_metrics(baseline, variant), self._best(variant)
        agreed = (self._best(baseline) == other).mean(1)
        texts = [str(label).replace(SPACE, "") for label in labels or []]
        read = [self._text(steps).replace(SPACE, "") for steps in other] if texts else []
        wrong = np.array([edits(text, found) for text, found in zip(texts, read, strict=True)])
        lengths = np.array([len(text) for text in texts])

        def of(places: np.ndarray) -> dict[str, float]:
            metrics = apart(places) | {"agreement": float(agreed[places].mean())}
            if texts:
                metrics["character_accuracy"] = float(1 - wrong[places].sum() / max(1, lengths[places].sum()))
            return metrics

        return of

    def _best(self, rows: Arrays) -> np.ndarray:
        """The index of the best character, (items, steps)."""
        return rows[self.output_names[0]].argmax(-1)

    def _text(self, steps: np.ndarray) -> str:
        assert self.labels is not None
        new = np.r_[True, steps[1:] != steps[:-1]]
        return "".join(self.labels[index] for index in steps[new])


def edits(text: str, other: str) -> int:
    """The fewest insertions, deletions and replacements of characters that turn one text into the other."""
    above = list(range(len(other) + 1))
    for row, mine in enumerate(text, 1):
        line = [row]
        for column, theirs in enumerate(other, 1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (mine != theirs)))
        above = line
    return above[-1]
