"""BentoML services, one model each: `bentoml serve` (Embedding), `bentoml serve service:TensorModel`.

    bentoml serve --arg model=minilm-l6-v2-torch-int8
    QUANTBENTO_MODEL=digits-onnx-int8 bentoml serve service:TensorModel

Every setting is in quantbento.serving.settings.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

# A fresh clone works before `pip install`; inside a Bento this folder is not there.
if (_source := Path(__file__).parent / "src").is_dir():
    sys.path.insert(0, str(_source))

import bentoml
from bentoml.exceptions import InvalidArgument
from pydantic import BeforeValidator, Field

from quantbento.core.errors import InvalidInput
from quantbento.serving.answers import answers_of
from quantbento.serving.bento import model_to_pack, packed_in
from quantbento.serving.errors import RequestGuard
from quantbento.serving.generation.in_process import TransformersServer
from quantbento.serving.generation.server import GenerationServer
from quantbento.serving.generation.settings import TransformersSettings, VLLMSettings
from quantbento.serving.generation.vllm import VLLMServer
from quantbento.serving.info import ModelInfo
from quantbento.serving.logs import without_clients_mistakes
from quantbento.serving.model import ServedModel, items
from quantbento.serving.openai import OpenAIErrors, check_dimensions, embeddings_response, one_or_many
from quantbento.serving.settings import ServiceSettings

without_clients_mistakes()
settings = bentoml.use_arguments(ServiceSettings)
vllm_settings = bentoml.use_arguments(VLLMSettings)
transformers_settings = bentoml.use_arguments(TransformersSettings)
packed = packed_in(Path(__file__).parent)
embedder = ServedModel(settings, "minilm-l6-v2-onnx-int8", "feature-extraction", packed)
classifier = ServedModel(settings, "sst2-onnx-int8", "text-classification", packed)
tensor_model = ServedModel(settings, "two-moons-onnx-int8", "tensor", packed)
language_model = VLLMServer(vllm_settings, "tiny-llama-autoround", packed)
in_process_model = TransformersServer(transformers_settings, "tiny-llama-bnb-nf4", packed)
Texts, LoneOrTexts = items(embedder), Annotated[items(embedder, pass_on=True), BeforeValidator(one_or_many)]
# Limits of every language model: both settings read them from the same places.
Prompt = Annotated[str, Field(min_length=1, max_length=vllm_settings.max_characters)]
NewTokens = Annotated[int, Field(ge=1, le=vllm_settings.max_tokens)]
Temperature = Annotated[float, Field(ge=0, le=2)]
FEW_TOKENS = min(128, vllm_settings.max_tokens)
VECTOR = {"type": "array", "items": {"type": "number"}}
LABEL = {"type": "object", "properties": {"label": {"type": "string"}, "score": {"type": "number"}}}


@bentoml.service(**settings.service_config(calls_itself=True))
class Embedding:
    """Texts to embeddings."""

    bento_model = model_to_pack(embedder.tag)

    @bentoml.on_deployment
    @staticmethod
    def preflight() -> None:
        embedder.preflight()

    def __init__(self) -> None:
        self.model = embedder.load()

    @bentoml.api(**settings.batching())
    def encode(self, texts: Texts) -> answers_of(VECTOR):
        """One embedding a text, in order."""
        return self.model.answers(texts)

    @bentoml.api(route="/v1/embeddings")
    async def embeddings(
        self,
        input: LoneOrTexts,
        model: str = "",
        encoding_format: Literal["float", "base64"] = "float",
        dimensions: int | None = None,
        user: str | None = None,
    ) -> dict[str, Any]:
        """OpenAI's embeddings endpoint; `model` is echoed, one is served."""
        vectors = await self.to_async.encode(input)
        check_dimensions(dimensions, vectors)
        return embeddings_response(vectors, encoding_format, model or embedder.tag, self.model.count_tokens(input))

    def __is_ready__(self) -> bool:
        return self.model.ready


@bentoml.service(**settings.service_config())
class TextClassification:
    """Texts to labels."""

    bento_model = model_to_pack(classifier.tag)

    @bentoml.on_deployment
    @staticmethod
    def preflight() -> None:
        classifier.preflight()

    def __init__(self) -> None:
        self.model = classifier.load()

    @bentoml.api(**settings.batching())
    def classify(self, texts: items(classifier)) -> answers_of(LABEL):
        """The most probable label of each text and its probability, in order."""
        return self.model.answers(texts)

    def __is_ready__(self) -> bool:
        return self.model.ready


@bentoml.service(**settings.service_config())
class TensorModel:
    """Arrays to arrays: any PyTorch module or ONNX graph."""

    bento_model = model_to_pack(tensor_model.tag)

    @bentoml.on_deployment
    @staticmethod
    def preflight() -> None:
        tensor_model.preflight()

    def __init__(self) -> None:
        self.model = tensor_model.load()

    @bentoml.api(**settings.batching())
    def predict(self, inputs: items(tensor_model)) -> answers_of({}):
        """The model's outputs for each input, in order."""
        return self.model.answers(inputs)

    def __is_ready__(self) -> bool:
        return self.model.ready


@bentoml.service(**vllm_settings.service_config())
@bentoml.asgi_app(language_model.app)
class TextGeneration:
    """Prompts to texts, with vLLM: /generate, and OpenAI's /v1/completions, /v1/chat/completions and /v1/models."""

    bento_model = model_to_pack(language_model.tag)

    @bentoml.on_deployment
    @staticmethod
    def preflight() -> None:
        language_model.preflight()

    @bentoml.api
    async def generate(
        self, prompt: Prompt, max_tokens: NewTokens = FEW_TOKENS, temperature: Temperature = 0.7
    ) -> dict[str, Any]:
        """A prompt's continuation, its number of tokens and the seconds it took."""
        return await continued(language_model, prompt, max_tokens, temperature)

    def __is_ready__(self) -> bool:
        return language_model.ready


@bentoml.service(**transformers_settings.service_config())
@bentoml.asgi_app(in_process_model.app)
class TextGenerationTransformers:
    """As TextGeneration, with Transformers in this process, a text at a time: for what vLLM does not load."""

    bento_model = model_to_pack(in_process_model.tag)

    @bentoml.on_deployment
    @staticmethod
    def preflight() -> None:
        in_process_model.preflight()

    @bentoml.api
    async def generate(
        self, prompt: Prompt, max_tokens: NewTokens = FEW_TOKENS, temperature: Temperature = 0.7
    ) -> dict[str, Any]:
        """A prompt's continuation, its number of tokens and the seconds it took."""
        return await continued(in_process_model, prompt, max_tokens, temperature)

    def __is_ready__(self) -> bool:
        return in_process_model.ready


async def continued(server: GenerationServer, prompt: str, max_tokens: int, temperature: float) -> dict[str, Any]:
    """The answer of /generate; wrong input is 400."""
    try:
        return await server.generate(prompt, max_tokens, temperature)
    except InvalidInput as error:
        raise InvalidArgument(str(error)) from None


for _service, _served in (
    (Embedding, embedder),
    (TextClassification, classifier),
    (TensorModel, tensor_model),
    (TextGeneration, language_model),
    (TextGenerationTransformers, in_process_model),
):
    if _service in (Embedding, TextGeneration, TextGenerationTransformers):  # with OpenAI's endpoints
        _service.add_asgi_middleware(OpenAIErrors)
    _service.add_asgi_middleware(ModelInfo, served=_served)
    _service.add_asgi_middleware(RequestGuard, max_body_bytes=settings.max_body_bytes)
