"""Texts to embeddings, pooled and normalised as the model's sentence-transformers files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Arrays
from quantbento.tasks.embeddings import EmbeddingTask, normalized
from quantbento.tasks.image_feature_extraction import ImageFeatureExtraction
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text import TextInputs, TextOptions, TextTask, read_json

Pooling = Literal["mean", "cls", "last"]


class FeatureExtractionOptions(TextOptions):
    pooling: Pooling | None = None
    normalize: bool | None = None
    prompt: str | None = None


class FeatureExtraction(EmbeddingTask, TextTask):
    name = "feature-extraction"
    Options = FeatureExtractionOptions
    output_names = ["last_hidden_state"]

    def __init__(self, text: TextInputs, pooling: Pooling, normalize: bool) -> None:
        self.text, self.pooling, self.normalize = text, pooling, normalize
        self.input_names = text.names

    @classmethod
    def suits(cls, config: dict[str, Any]) -> bool:
        """Models of images share the class."""
        return not ImageFeatureExtraction.suits(config)

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Folders of sentence-transformers, but for its other kinds of models."""
        kind = read_json(folder / "config_sentence_transformers.json").get("model_type", "SentenceTransformer")
        return (folder / "modules.json").is_file() and kind == "SentenceTransformer"

    @classmethod
    def create(cls, source: SourceModel, options: FeatureExtractionOptions, samples: SampleSet) -> Self:
        own = _sentence_transformers(source.folder) if source.folder else {}
        chosen = {k: v for k, v in options.model_dump().items() if v is not None}
        settings = {"pooling": "mean", "normalize": False, "prompt": "", **own, **chosen}
        text = TextInputs.create(source, options, settings["prompt"])
        return cls(text, settings["pooling"], settings["normalize"])

    def save(self, folder: Path) -> dict[str, Any]:
        return {"text": self.text.save(folder), "pooling": self.pooling, "normalize": self.normalize}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(TextInputs.load(folder, config["text"]), config["pooling"], config["normalize"])

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """(texts, tokens, width) to (texts, width). The mean and the last token leave out padding. A runtime that pools
        itself gives `embedding`, (texts, width)."""
        if "embedding" in outputs:
            pooled = outputs["embedding"].astype(np.float32, copy=False)
            return {"embedding": normalized(pooled) if self.normalize else pooled}
        hidden = outputs["last_hidden_state"].astype(np.float32, copy=False)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.pooling == "last":
            pooled = hidden[np.arange(len(hidden)), batch["attention_mask"].sum(1) - 1]
        else:
            mask = batch["attention_mask"][..., None].astype(np.float32)
            pooled = (hidden * mask).sum(1) / np.maximum(mask.sum(1), 1e-9)
        if self.normalize:
            pooled = normalized(pooled)
        return {"embedding": pooled}


def _sentence_transformers(folder: Path) -> dict[str, Any]:
    """Pooling, normalisation and default prompt from a folder's sentence-transformers files.

    Raises:
        QuantbentoError: the folder names a step that is not supported; leaving it out would change every answer.
    """
    found: dict[str, Any] = {}
    modules = read_json(folder / "modules.json")
    for module in modules if isinstance(modules, list) else []:
        kind = module["type"].rpartition(".")[2]
        if kind == "Normalize":
            found["normalize"] = True
        elif kind == "Pooling":
            found["pooling"] = _pooling(folder / module["path"] / "config.json")
        elif kind != "Transformer":
            raise QuantbentoError(
                f"{folder / 'modules.json'} has a {kind} step, which feature-extraction does not do "
                "(it does Transformer, Pooling and Normalize); use task tensor with a factory of your own"
            )
    prompts = read_json(folder / "config_sentence_transformers.json")
    if name := prompts.get("default_prompt_name"):
        found["prompt"] = prompts["prompts"][name]
    return found


def _pooling(path: Path) -> Pooling:
    config = read_json(path)
    modes = {
        k.removeprefix("pooling_mode_") for k, on in config.items() if on is True and k.startswith("pooling_mode_")
    }
    if isinstance(config.get("pooling_mode"), str):
        modes = {config["pooling_mode"]}
    if modes <= {"mean", "mean_tokens"} and modes:
        return "mean"
    if modes <= {"cls", "cls_token"} and modes:
        return "cls"
    if modes <= {"last", "lasttoken"} and modes:
        return "last"
    raise QuantbentoError(f"{path} asks for pooling by {sorted(modes) or 'nothing'}; allowed are mean, cls and last")
