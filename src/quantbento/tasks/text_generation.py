"""Prompts to continuations by a causal language model; judged by perplexity over fixed windows of tokens.

The checkpoint's own tokenizer and chat template are used through `transformers`, in whichever runtime serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from quantbento.core.errors import InvalidInput, QuantbentoError, summary
from quantbento.tasks.base import Arrays, Metric, Task, TaskOptions
from quantbento.tasks.difficult import TEXTS
from quantbento.tasks.divergence import divergence_figures
from quantbento.tasks.metrics import kl_of_listed
from quantbento.tasks.source import SampleSet, SourceModel

if TYPE_CHECKING:
    from quantbento.recipe import Calibration

ROLES = ("system", "user", "assistant", "tool")


class TextGenerationOptions(TaskOptions):
    window: int = Field(256, ge=2, description="tokens in each window that perplexity is computed over")
    windows: int = Field(32, ge=1, description="windows cut from the joined evaluation texts; fewer is an error")
    prompt_tokens: int = Field(32, ge=1, description="tokens of each text that are its prompt when speed is measured")
    new_tokens: int = Field(32, ge=1, description="tokens generated per prompt when speed is measured")
    chat_template: bool | None = Field(None, description="use the tokenizer's chat template; by default if it has one")
    engine: dict[str, Any] = Field({}, description="settings of the runtime's engine, for judging and for serving")


class TextGeneration(Task):
    """Items are prompts: a text, or a list of `{"role", "content"}` messages."""

    name = "text-generation"
    Options = TextGenerationOptions
    metrics = {
        "perplexity": Metric(-1),
        "agreement": Metric(+1),
        "kl_divergence": Metric(-1, recovers=False),
        "kl_p99": Metric(-1, recovers=False),
    }
    primary = ("perplexity",)
    contract = "tokens"
    starts_from = ("checkpoint",)
    auto_class = "AutoModelForCausalLM"
    on_disk = True
    distributions = ("transformers", "tokenizers")
    throughput_unit = "tokens/s"
    takes_preprocess = False  # engines take OpenAI requests unchanged
    quickest = {"window": 32, "windows": 2, "prompt_tokens": 4, "new_tokens": 4}

    def __init__(self, folder: Path, options: TextGenerationOptions) -> None:
        self.folder, self.options = folder, options

    @classmethod
    def create(cls, source: SourceModel, options: TextGenerationOptions, samples: SampleSet) -> Self:
        if source.folder is None:
            raise QuantbentoError(
                "text-generation needs a model in hub format with its tokenizer; a factory returns the folder's path"
            )
        return cls(source.folder, options)

    def save(self, folder: Path) -> dict[str, Any]:
        self.tokenizer.save_pretrained(folder)
        return self.options.model_dump(mode="json", exclude_defaults=True, exclude={"engine"})  # the runtime keeps that

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(folder, TextGenerationOptions.model_validate(config))

    @cached_property
    def tokenizer(self) -> Any:
        return read_tokenizer(self.folder)

    @property
    def uses_chat_template(self) -> bool:
        has_one = bool(self.tokenizer.chat_template)
        return has_one if self.options.chat_template is None else self.options.chat_template

    def check(self, item: Any) -> str | list[dict[str, str]]:
        if isinstance(item, list) and item:
            for message in item:
                _check_message(message)
            if not self.tokenizer.chat_template:
                raise InvalidInput("messages need a chat template, which this model's tokenizer does not have")
            return item
        if not isinstance(item, str):
            raise InvalidInput(f"must be a string or a list of messages, not {type(item).__name__}")
        if not item.strip():
            raise InvalidInput("must not be empty")
        return item

    def prompt_ids(self, item: str | list[dict[str, str]]) -> list[int]:
        """A checked item as the model reads it: through the chat template where the task uses it."""
        if isinstance(item, list) or self.uses_chat_template:
            messages = item if isinstance(item, list) else [{"role": "user", "content": item}]
            rendered = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            return self._ids(rendered, add_special_tokens=False)
        return self._ids(item)

    def text_ids(self, item: str | list[dict[str, str]]) -> list[int]:
        """A checked item as text to score or calibrate on. Chats are rendered as in training."""
        if isinstance(item, list):
            rendered = self.tokenizer.apply_chat_template(item, tokenize=False)
            return self._ids(rendered, add_special_tokens=False)
        return self._ids(item)

    def _ids(self, text: str, add_special_tokens: bool = True) -> list[int]:
        # verbose=False: a whole file is longer than the model's context, and is cut into windows later
        return list(self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])

    def sequences(self, items: Sequence[Any], tokens: int, count: int, what: str) -> np.ndarray:
        """The texts joined and cut: int64 token ids of shape (count, tokens).

        Raises:
            QuantbentoError: the texts are too short for that. Nothing is padded, repeated or left short.
        """
        ids: list[int] = []
        for item in items:
            ids += self.text_ids(self.check(item))
            if len(ids) >= tokens * count:
                return np.asarray(ids[: tokens * count], np.int64).reshape(count, tokens)
        raise QuantbentoError(
            f"{what}: {len(items)} texts make {len(ids) // tokens} sequences of {tokens} tokens, {count} are asked for"
        )

    def check_files(self) -> None:
        """Checks that the tokenizer is there and loads."""
        _ = self.tokenizer

    def check_enough(self, kind: str, items: Sequence[Any], calibration: Calibration | None) -> None:
        tokens, count = self.options.window, self.options.windows
        if kind == "calibration" and calibration is not None:
            tokens, count = calibration.sequence_length, calibration.sequences
        try:
            _ = self.tokenizer
        except QuantbentoError:  # `check_files` reports it
            _certainly_enough(items, tokens, count, kind)
        else:
            self.sequences(self.check_all(items, None), tokens, count, kind)

    def windows(self, items: Sequence[Any]) -> np.ndarray:
        """The int64 token ids that perplexity is computed over, of shape (windows, window)."""
        return self.sequences(items, self.options.window, self.options.windows, "evaluation")

    def calibrate(self, checked: Sequence[Any], wanted: Calibration) -> np.ndarray:
        """int64 token ids of shape (sequences, sequence_length)."""
        return self.sequences(checked, wanted.sequence_length, wanted.sequences, "calibration")

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        return _named(self.divergence(baseline, variant), variant["token_logprobs"])

    def divergence(self, baseline: Arrays, variant: Arrays) -> dict[str, float]:
        return divergence_figures(*_positions(baseline, variant))

    def resampler(
        self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None
    ) -> Callable[[np.ndarray], dict[str, float]]:
        """Of windows: the tokens of one are no independent samples."""
        every = _positions(baseline, variant)

        def of(places: np.ndarray) -> dict[str, float]:
            chosen = [values[places] for values in every]
            return _named(divergence_figures(*chosen), chosen[-1])

        return of

    def examples(self) -> list[str]:
        return ["Once upon a time"]

    def difficult(self, checked: Sequence[Any]) -> dict[str, list[Any]]:
        return {kind: list(texts) for kind, texts in TEXTS.items()}

    def answer_schema(self) -> dict[str, Any]:
        properties = {"text": {"type": "string"}, "tokens_generated": {"type": "integer"}}
        return {"type": "object", "properties": properties | {"finish_reason": {"type": "string"}}}

    def item_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a checkpoint.

    Raises:
        QuantbentoError: there is none, or it does not load.
    """
    from transformers import AutoTokenizer

    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    if not any((folder / name).is_file() for name in names):
        raise QuantbentoError(f"there is no tokenizer in {folder}; copy {names[0]} and {names[1]} of its model there")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # many kinds, from a broken JSON to a missing package
        raise QuantbentoError(f"the tokenizer in {folder} does not load: {summary(error)}") from error


def _positions(baseline: Arrays, variant: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `divergence_figures` takes, each of shape (windows, positions)."""
    listed = ("top_ids", "top_logprobs")
    divergence = kl_of_listed(*(baseline[n] for n in listed), *(variant[n] for n in listed))
    same = baseline["top_ids"][:, :, 0] == variant["top_ids"][:, :, 0]
    return divergence, same, baseline["token_logprobs"], variant["token_logprobs"]


def _named(found: dict[str, float], logprobs: np.ndarray) -> dict[str, float]:
    """The metrics, of the figures of a divergence and the variant's log-probabilities."""
    return {
        "perplexity": float(np.exp(-logprobs.astype(np.float64).mean())),
        "agreement": found["same_top"],
        "kl_divergence": found["mean"],
        "kl_p99": found["p99"],
    }


def _check_message(message: Any) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise InvalidInput('each message must be {"role": ..., "content": text}')
    if message.get("role") not in ROLES:
        raise InvalidInput(f"a message's role must be one of {', '.join(ROLES)}, not {message.get('role')!r}")


def _certainly_enough(items: Sequence[Any], tokens: int, count: int, what: str) -> None:
    """What is certain without a tokenizer: a text has at most one token per byte, and two that frame it.

    Raises:
        QuantbentoError: the texts are too few for any tokenizer.
    """
    if all(isinstance(item, str) for item in items):
        most = sum(len(item.encode()) + 2 for item in items) // tokens
        if most < count:
            raise QuantbentoError(
                f"{what}: {len(items)} texts make at most {most} sequences of {tokens} tokens, {count} are asked for"
            )
