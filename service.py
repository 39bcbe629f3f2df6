"""BentoML services, one stored model each: `bentoml serve` (Embedding), `bentoml serve service:TensorModel`.

    bentoml serve --arg model=minilm-l6-v2-torch-int8
    QUANTBENTO_MODEL=digits-onnx-int8 bentoml serve service:TensorModel

Every setting is in quantbento.serving.settings and, for TextGeneration, quantbento.serving.generation.settings.
To serve a task of your own: quantbento.serving.service.BatchService.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

# A fresh clone works before `pip install`; inside a Bento this folder is not there.
if (_source := Path(__file__).parent / "src").is_dir():
    sys.path.insert(0, str(_source))

import bentoml
from pydantic import BeforeValidator, Field

from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.middleware import with_middleware
from quantbento.serving.model import ServedModel
from quantbento.serving.openai_embeddings import check_dimensions, embeddings_response, one_or_many
from quantbento.serving.service import BatchService, ModelService
from quantbento.serving.settings import ServiceSettings

settings = ServiceSettings.read()
embedder = ServedModel(settings, "minilm-l6-v2-onnx-int8", "feature-extraction")
classifier = ServedModel(settings, "sst2-onnx-int8", "text-classification")
tensor_model = ServedModel(settings, "two-moons-onnx-int8", "tensor")

generation = GenerationSettings.read()
language_model = ServedLanguageModel(generation, "tiny-llama-autoround")

# What requests hold, each with an example to try in Swagger, and what is answered.
SENTENCES = ["The sun sets behind the hills.", "Evening falls over the mountains."]
Texts = Annotated[list[str], embedder.inputs(SENTENCES)]
TextOrTexts = Annotated[list[str], embedder.inputs(SENTENCES, pass_on=True), BeforeValidator(one_or_many)]
Vectors = Annotated[list[Any], embedder.outputs()]
Reviews = Annotated[list[str], classifier.inputs(["A warm and funny film.", "Two hours I will not get back."])]
Labels = Annotated[list[Any], classifier.outputs()]
Arrays = Annotated[list[Any], tensor_model.inputs()]
Outputs = Annotated[list[Any], tensor_model.outputs()]
Prompt = Annotated[
    str,
    Field(min_length=1, max_length=generation.max_characters, json_schema_extra={"example": "def fibonacci(n):"}),
]
NewTokens = Annotated[int, Field(ge=1, le=generation.max_tokens)]
Temperature = Annotated[float, Field(ge=0, le=2)]
FEW_TOKENS = min(128, generation.max_tokens)


@with_middleware(openai=True)
@bentoml.service(**settings.service_config(calls_itself=True))
class Embedding(BatchService):
    """Texts to embeddings."""

    served = embedder

    @bentoml.api(**settings.batching())
    def encode(self, texts: Texts) -> Vectors:
        """One embedding per text, in order."""
        return embedder.answers(texts)

    @bentoml.api(route="/v1/embeddings")
    async def embeddings(
        self,
        input: TextOrTexts,
        model: str = "",
        encoding_format: Literal["float", "base64"] = "float",
        dimensions: int | None = None,
        user: str | None = None,
    ) -> dict[str, Any]:
        """OpenAI's embeddings endpoint; `model` is echoed, one is served."""
        vectors = await self.to_async.encode(input)
        check_dimensions(dimensions, vectors)
        return embeddings_response(vectors, encoding_format, model or embedder.tag, embedder.count_tokens(input))


@with_middleware()
@bentoml.service(**settings.service_config())
class TextClassification(BatchService):
    """Texts to labels."""

    served = classifier

    @bentoml.api(**settings.batching())
    def classify(self, texts: Reviews) -> Labels:
        """The most probable label of each text and its probability, in order."""
        return classifier.answers(texts)


@with_middleware()
@bentoml.service(**settings.service_config())
class TensorModel(BatchService):
    """Arrays to arrays: any PyTorch module or ONNX graph."""

    served = tensor_model

    @bentoml.api(**settings.batching())
    def predict(self, inputs: Arrays) -> Outputs:
        """The model's outputs for each input, in order."""
        return tensor_model.answers(inputs)


@with_middleware(openai=True)
@bentoml.service(**generation.service_config())
@bentoml.asgi_app(language_model.app)
class TextGeneration(ModelService):
    """Prompts to texts: /generate, and OpenAI's /v1/completions, /v1/chat/completions and /v1/models."""

    served = language_model

    @bentoml.api
    async def generate(
        self, prompt: Prompt, max_tokens: NewTokens = FEW_TOKENS, temperature: Temperature = 0.7
    ) -> dict[str, Any]:
        """A prompt's continuation, its number of tokens and the seconds it took."""
        return await language_model.generate(prompt, max_tokens, temperature)


# The engine is the one that the stored model says. Before, it went by the service's name, which Bentos still use.
TextGenerationTransformers = TextGeneration
