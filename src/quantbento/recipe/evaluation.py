"""What variants are judged on, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from quantbento.core.errors import one_of
from quantbento.core.user_code import UserCode
from quantbento.recipe.inputs import Samples
from quantbento.recipe.lm_eval import LmEval
from quantbento.recipe.strict import Strict

Kind = Literal["items", "pairs", "retrieval"]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
PAIR_FIELDS = ("sentence1", "sentence2", "score")  # columns of `kind: pairs`, as STS-B calls them


class OwnMetric(Strict):
    """A metric of the user's; a recipe may give its function alone."""

    function: UserCode = Field(description="called with what its parameters name: answers, labels, inputs, rows")
    better: Literal["higher", "lower"] = Field("higher", description="which values are better")


def _function(given: Any) -> Any:
    return {"function": given} if isinstance(given, str) else given


class Evaluation(Samples):
    """The samples that variants are judged on, and how. No quantizer sees them."""

    kind: Kind = Field("items", description="what a unit is: an item, two texts with a score, or a query")
    metrics: dict[MetricName, Annotated[OwnMetric, BeforeValidator(_function)]] = Field(
        {}, description="the user's own metrics by name, as `module:function`"
    )
    group: str | None = Field(None, description="a column; metrics are reported for each of its values too")
    worst: int | None = Field(None, gt=0, description="report so many of the worst samples with input and both answers")
    query_prompt: str = Field("", description="retrieval: goes before each query")
    document_prompt: str = Field("", description="retrieval: goes before each document")
    robustness: bool = Field(
        True, description="also try inputs that samples seldom have: empty, very long, emoji, noise"
    )
    lm_eval: LmEval | None = Field(None, description="tasks of lm-eval, for language models")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Evaluation:
        given = self.model_fields_set
        if self.kind == "retrieval":
            if self.path is None or not self.path.is_dir():
                raise ValueError(
                    "kind 'retrieval' needs path, a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv"
                )
        elif useless := sorted({"query_prompt", "document_prompt"} & given):
            raise ValueError(f"{one_of(useless)} is for kind 'retrieval'; leave it out")
        if self.kind == "pairs":
            if self.path is not None and (self.path.is_dir() or self.path.suffix not in (".jsonl", ".csv")):
                raise ValueError(f"kind 'pairs' needs a table, .jsonl or .csv, not {self.path.name}")
            if useless := sorted({"text", "label"} & given):
                raise ValueError(f"{one_of(useless)} is not read by kind 'pairs'; use columns: {_columns()}")
        if self.metrics and self.kind != "items":
            raise ValueError(f"metrics of your own are for kind 'items', not for {self.kind!r}")
        if self.group is not None and not self._has_columns:
            raise ValueError(f"group names a column of a table, which {self.path or self.factory} has not")
        return self

    @property
    def _has_columns(self) -> bool:
        if self.path is None:
            return self.dataset is not None
        return self.kind == "retrieval" or self.path.suffix in (".jsonl", ".csv", ".npz")

    def _without_effect(self) -> set[str]:
        return super()._without_effect() - ({"split"} if self.kind == "retrieval" else set())


def _columns() -> str:
    return "{" + ", ".join(f"{name}: ..." for name in PAIR_FIELDS) + "}"
