"""Images to embeddings: the pooled output of a vision model, or the image side of a model of images and texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from quantbento.core.errors import QuantbentoError, one_of
from quantbento.tasks.base import Arrays
from quantbento.tasks.embeddings import EmbeddingTask, normalized
from quantbento.tasks.image.processor import ImageProcessor
from quantbento.tasks.image.reading import read_processor
from quantbento.tasks.image.task import ImageOptions, ImageTask, check_takes_images, image_arguments
from quantbento.tasks.source import SampleSet, SourceModel

if TYPE_CHECKING:
    import torch

Pooling = Literal["pooler", "cls", "mean"]
EMBEDS, POOLER, HIDDEN = "image_embeds", "pooler_output", "last_hidden_state"  # as Transformers calls them


class ImageFeatureExtractionOptions(ImageOptions):
    pooling: Pooling | None = None
    normalize: bool = False


class ImageFeatureExtraction(EmbeddingTask, ImageTask):
    """What is taken for an embedding:

    - of a model of images and texts (CLIP, SigLIP): its image features, which can be compared with those of texts. Its
      text side is left out.
    - of other models, what the Transformers pipeline calls pooled: `pooler_output`; `pooling: pooler` asks for it.
    - where there is no pooler, or the checkpoint has no weights for it: the first token's last hidden state, `cls`.
    - `mean` is the mean of the last hidden states of all tokens, or of a convolutional network's whole map.
    """

    name = "image-feature-extraction"
    Options = ImageFeatureExtractionOptions

    def __init__(
        self, processor: ImageProcessor, max_pixels: int, output: str, pooling: Pooling, normalize: bool
    ) -> None:
        """`output` is the model's output that is pooled."""
        super().__init__(processor, max_pixels)
        self.output_names, self.pooling, self.normalize = [output], pooling, normalize

    @classmethod
    def suits(cls, config: dict[str, Any]) -> bool:
        return "num_channels" in config or "vision_config" in config

    @classmethod
    def create(cls, source: SourceModel, options: ImageFeatureExtractionOptions, samples: SampleSet) -> Self:
        processor = read_processor(source)
        assert source.module is not None
        if hasattr(source.module, "get_image_features") and hasattr(source.module, "text_model"):
            source.keep(_image_side(source.module))
        found = {name: value.shape for name, value in check_takes_images(source, processor).items()}
        output, pooling = _pooled(source, options.pooling, found)
        return cls(processor, options.max_pixels, output, pooling, options.normalize)

    def save(self, folder: Path) -> dict[str, Any]:
        pooled = {"output": self.output_names[0], "pooling": self.pooling, "normalize": self.normalize}
        return {**self.image_config(), **pooled}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(*image_arguments(config), config["output"], config["pooling"], config["normalize"])

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Hidden states (images, tokens, width) or maps (images, channels, height, width) to (images, width)."""
        values = outputs[self.output_names[0]].astype(np.float32, copy=False)
        if self.pooling == "cls":
            values = values[:, 0]
        elif self.pooling == "mean":
            values = values.mean(axis=1) if values.ndim == 3 else values.mean(axis=(2, 3))
        values = values.reshape(len(values), -1)  # a convolutional network's pooler leaves (images, width, 1, 1)
        if self.normalize:
            values = normalized(values)
        return {"embedding": values}


def _image_side(module: torch.nn.Module) -> torch.nn.Module:
    """A model of images and texts that takes images only."""
    import torch

    class ImageSide(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model, self.config = model, model.config
            for name in ("text_model", "text_projection", "text_embed_dim", "logit_scale", "logit_bias"):
                if hasattr(model, name):
                    delattr(model, name)

        def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
            features = self.model.get_image_features(pixel_values=pixel_values)
            return {EMBEDS: features if isinstance(features, torch.Tensor) else features.pooler_output}

    return ImageSide(module).eval()


def _pooled(source: SourceModel, wanted: Pooling | None, found: dict[str, tuple[int, ...]]) -> tuple[str, Pooling]:
    """The output to pool and how, by what is wanted, what there is, and whether it has weights of its own.

    Raises:
        QuantbentoError: what is wanted cannot be had.
    """
    pooler = next((name for name in (EMBEDS, POOLER) if name in found), None)
    if pooler == POOLER and _has_random_pooler(source):
        pooler = None
    hidden = len(found.get(HIDDEN, ()))
    can: dict[Pooling, str] = {} if pooler is None else {"pooler": pooler}
    can |= {"cls": HIDDEN} if hidden == 3 else {}
    can |= {"mean": HIDDEN} if hidden in (3, 4) else {}
    if not can:
        raise QuantbentoError(
            f"the model of {source.folder} has no output to pool: it gives {', '.join(found)}; known are {EMBEDS}, "
            f"{POOLER} and {HIDDEN}"
        )
    pooling = wanted or next(iter(can))
    if pooling not in can:
        reason = "its checkpoint has no weights for a pooler" if _has_random_pooler(source) else f"it gives {found}"
        raise QuantbentoError(
            f"task_options.pooling {pooling!r} is not possible with {source.folder}: {reason}; "
            f"possible is {one_of(can)}"
        )
    return can[pooling], pooling


def _has_random_pooler(source: SourceModel) -> bool:
    """Whether the module has a pooler whose weights the checkpoint lacks, so that Transformers made some up."""
    assert source.module is not None and source.folder is not None
    own = any(name.startswith("pooler.") for name, _ in source.module.named_parameters())
    return own and not any("pooler." in name for name in _stored_names(source.folder))


def _stored_names(folder: Path) -> list[str]:
    """The names of the weights in a checkpoint."""
    if indexes := sorted(folder.glob("*.index.json")):
        return list(json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"])
    if files := sorted(folder.glob("*.safetensors")):
        from safetensors import safe_open

        with safe_open(files[0], "pt") as file:
            return list(file.keys())
    import torch

    file = next(iter(sorted(folder.glob("*.bin"))))
    return list(torch.load(file, map_location="meta", weights_only=True))
