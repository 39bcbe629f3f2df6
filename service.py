"""BentoML services, one for each task. A stored model is served by the one for its task:

    quantbento serve minilm-l6-v2-onnx-int8
    bentoml serve                                                     # the only stored model
    bentoml serve --arg model=minilm-l6-v2-onnx-int8
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
from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import TypedDict

from quantbento.serving import reranking
from quantbento.serving.default import default_service
from quantbento.serving.generation.model import PATHS as GENERATION_PATHS
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.images import image_requests
from quantbento.serving.middleware import with_middleware
from quantbento.serving.model import ServedModel
from quantbento.serving.openai_embeddings import check_dimensions, embeddings_response, one_or_many
from quantbento.serving.service import BatchService, ModelService
from quantbento.serving.settings import ServiceSettings
from quantbento.tasks.text import checked_text

settings = ServiceSettings.read()
embedder = ServedModel(settings, "feature-extraction")
classifier = ServedModel(settings, "text-classification")
ranker = ServedModel(settings, "text-ranking")
tagger = ServedModel(settings, "token-classification")
image_classifier = ServedModel(settings, "image-classification")
image_encoder = ServedModel(settings, "image-feature-extraction")
tensor_model = ServedModel(settings, "tensor")

generation = GenerationSettings.read()
language_model = ServedLanguageModel(generation)

# What requests hold, each with an example to try in Swagger, and what is answered.
SENTENCES = ["The sun sets behind the hills.", "Evening falls over the mountains."]
Texts = Annotated[list[str], embedder.inputs(SENTENCES)]
TextOrTexts = Annotated[list[str], embedder.inputs(SENTENCES), BeforeValidator(one_or_many)]
Vectors = Annotated[list[Any], embedder.outputs()]
Reviews = Annotated[list[str], classifier.inputs(["A warm and funny film.", "Two hours I will not get back."])]
Labels = Annotated[list[Any], classifier.outputs()]
Sentences = Annotated[list[str], tagger.inputs(["Marie Curie was born in Warsaw.", "Nothing is named here."])]
Entities = Annotated[list[Any], tagger.outputs()]
Scores = Annotated[list[Any], ranker.outputs()]
Text = Annotated[str, Field(min_length=1, max_length=settings.max_characters), AfterValidator(checked_text)]
Top = Annotated[int, Field(ge=1)]
BestLabels = Annotated[list[Any], image_classifier.outputs()]
ImageVectors = Annotated[list[Any], image_encoder.outputs()]
Arrays = Annotated[list[Any], tensor_model.inputs()]
Outputs = Annotated[list[Any], tensor_model.outputs()]
Prompt = Annotated[
    str,
    Field(min_length=1, max_length=generation.max_characters, json_schema_extra={"example": "def fibonacci(n):"}),
]
NewTokens = Annotated[int, Field(ge=1, le=generation.max_tokens)]
Temperature = Annotated[float, Field(ge=0, le=2)]
FEW_TOKENS = min(128, generation.max_tokens)


class Pair(TypedDict):
    query: Text
    document: Text


Pairs = Annotated[list[Pair], ranker.inputs()]
Documents = Annotated[
    list[Text], Field(min_length=1, max_length=settings.max_items), BeforeValidator(reranking.texts_of)
]


@with_middleware(vectors="/encode")
@bentoml.service(**settings.service_config())
class Embedding(BatchService):
    """Texts to embeddings."""

    served = embedder

    @bentoml.api(**settings.batched())
    async def encode(self, texts: Texts) -> Vectors:
        """One embedding per text, in order."""
        return await embedder.answers(texts)

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
        vectors = await embedder.every_answer(input)
        check_dimensions(dimensions, vectors)
        return embeddings_response(vectors, encoding_format, model or embedder.tag, embedder.count_tokens(input))


@with_middleware()
@bentoml.service(**settings.service_config())
class TextClassification(BatchService):
    """Texts to labels."""

    served = classifier

    @bentoml.api(**settings.batched())
    async def classify(self, texts: Reviews) -> Labels:
        """The most probable label of each text and its probability, in order."""
        return await classifier.answers(texts)


@with_middleware(examples=reranking.EXAMPLES, without_effect=reranking.WITHOUT_EFFECT)
@bentoml.service(**settings.service_config())
class TextRanking(BatchService):
    """Queries and documents to relevance. Of texts that are too long for the model, the end is cut."""

    served = ranker

    @bentoml.api(**settings.batched())
    async def score(self, pairs: Pairs) -> Scores:
        """How relevant the document of each pair is to its query, in order."""
        return await ranker.answers(pairs)

    @bentoml.api(route="/rerank")
    async def rerank(
        self,
        query: Text,
        documents: Documents | None = None,
        texts: Documents | None = None,
        top_n: Top | None = None,
        return_documents: bool = False,
        return_text: bool = False,
        raw_scores: bool = False,
    ) -> Any:
        """Documents by relevance, as Cohere answers (`documents`) or as Text Embeddings Inference does (`texts`)."""
        given = reranking.one_of_both(documents, texts)
        answers = await ranker.every_answer(reranking.pairs_of(query, given))
        if texts is not None:
            return reranking.inference_response(answers, given, raw_scores, return_text)
        return reranking.cohere_response(answers, given, top_n, return_documents)

    @bentoml.api(route="/v2/rerank")
    async def rerank_v2(
        self, query: Text, documents: Documents, top_n: Top | None = None, return_documents: bool = False
    ) -> dict[str, Any]:
        """Documents by relevance, where Cohere's clients look for it; `model` and the like have no effect."""
        answers = await ranker.every_answer(reranking.pairs_of(query, documents))
        return reranking.cohere_response(answers, documents, top_n, return_documents)


@with_middleware()
@bentoml.service(**settings.service_config())
class TokenClassification(BatchService):
    """Texts to entities: the parts that name something."""

    served = tagger

    @bentoml.api(**settings.batched())
    async def entities(self, texts: Sentences) -> Entities:
        """The entities of each text with their places, in order."""
        return await tagger.answers(texts)


@with_middleware()
@bentoml.service(**settings.service_config())
class ImageClassification(BatchService):
    """Images to labels."""

    served = image_classifier

    @bentoml.api(input_spec=image_requests(image_classifier, top_k=True), **settings.batched())
    async def classify(self, images: list[Any]) -> BestLabels:
        """The most probable labels of each image and their probabilities, the best first."""
        return await image_classifier.answers(images)


@with_middleware(vectors="/encode")
@bentoml.service(**settings.service_config())
class ImageFeatureExtraction(BatchService):
    """Images to embeddings."""

    served = image_encoder

    @bentoml.api(input_spec=image_requests(image_encoder), **settings.batched())
    async def encode(self, images: list[Any]) -> ImageVectors:
        """One embedding per image, in order."""
        return await image_encoder.answers(images)


@with_middleware(arrays="/predict")
@bentoml.service(**settings.service_config())
class TensorModel(BatchService):
    """Arrays to arrays, in JSON or as NumPy files: any PyTorch module or ONNX graph."""

    served = tensor_model

    @bentoml.api(**settings.batched())
    async def predict(self, inputs: Arrays) -> Outputs:
        """The model's outputs for each input, in order."""
        return await tensor_model.answers(inputs)


@with_middleware(paths=GENERATION_PATHS)
@bentoml.service(**generation.service_config())
@bentoml.asgi_app(language_model.app)
class TextGeneration(ModelService):
    """Prompts to texts: /generate, and OpenAI's /v1/completions, /v1/chat/completions and /v1/models. Its tokenizer as
    vLLM has it: /tokenize, /detokenize and /tokenizer_info."""

    served = language_model

    @bentoml.api
    async def generate(
        self,
        prompt: Prompt,
        max_tokens: NewTokens = FEW_TOKENS,
        temperature: Temperature = 0.7,
        model: str = "",
    ) -> dict[str, Any]:
        """A prompt's continuation, its number of tokens and the seconds it took; `model` may name an adapter."""
        return await language_model.generate(prompt, max_tokens, temperature, model)


# The engine is the one that the stored model says. Before, it went by the service's name, which Bentos still use.
TextGenerationTransformers = TextGeneration

# What `bentoml serve` and `bentoml build` take: the service for the task of the named model, or of the only one.
Default = default_service()
