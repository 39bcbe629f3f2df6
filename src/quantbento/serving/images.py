"""What an endpoint for images takes: files in `multipart/form-data`, or JSON with the files in base64.

Both become the same list of checked images and run in the same batches. Decoding is work: it is done in a thread of its
own, so that probes and other requests are answered meanwhile. There is one such thread, since a large image takes
memory many times its file's size. BentoML's own types for files are not used: they fetch addresses that a client sends
instead of a file.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import bentoml
from bentoml.exceptions import InvalidArgument
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from quantbento.serving.errors import UnsupportedMediaType
from quantbento.serving.model import ServedModel
from quantbento.serving.request_guard import JSON
from quantbento.serving.strict_json import parse_json

FORM = "multipart/form-data"
IMAGES, TOP_K = "images", "top_k"
# A white PNG of one pixel, to try in Swagger.
WHITE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"


def image_requests(served: ServedModel, top_k: bool = False) -> type[bentoml.IODescriptor]:
    """The `input_spec` of an endpoint whose one parameter is `images`.

    Args:
        served: the model, for an image task.
        top_k: whether a request can say how many labels it wants. They travel with each image.
    """
    body = _body(served, top_k)
    decoder = ThreadPoolExecutor(1, "images")

    class ImageRequest(bentoml.IODescriptor):
        images: list[Any]

        @classmethod
        async def from_http_request(cls, request: Request, serde: Any) -> ImageRequest:
            given = await _given(request)
            checked = await asyncio.get_running_loop().run_in_executor(decoder, _read, body, given)
            return cls.model_construct(images=checked.images)

        @classmethod
        def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
            return body.model_json_schema(*args, **kwargs)

        @classmethod
        def openapi_additions(cls, route: str) -> dict[str, Any]:
            """What the document says beside JSON; see `quantbento.serving.openapi_additions`."""
            return _form_operation(route, served.settings.max_items, top_k)

    return ImageRequest


def _body(served: ServedModel, top_k: bool) -> type[BaseModel]:
    """The model of a request's body. Its `images` are checked, each with the request's `top_k` if there is one."""
    fields: dict[str, Any] = {IMAGES: (Annotated[list[Any], served.inputs([WHITE])], ...)}
    if top_k:
        told = "labels for each image; the model's own number by default"
        fields[TOP_K] = (Annotated[int | None, Field(ge=1, strict=True, description=told)], None)
    return create_model("Images", __base__=_Body, **fields)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _each_with_top_k(cls, given: Any) -> Any:
        wanted = given.get(TOP_K) if isinstance(given, dict) and TOP_K in cls.model_fields else None
        if type(wanted) is not int or wanted < 1 or not isinstance(images := given.get(IMAGES), list):
            return given
        return given | {IMAGES: [{"image": image, TOP_K: wanted} for image in images]}


def _read(body: type[BaseModel], given: bytes | dict[str, Any]) -> Any:
    return body.model_validate(given if isinstance(given, dict) else parse_json(given))


async def _given(request: Request) -> bytes | dict[str, Any]:
    """JSON as it came, or what a form says."""
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type == JSON:
        return await request.body()
    if media_type == FORM:
        return await _form(request)
    raise UnsupportedMediaType(
        f"{media_type!r} is not taken; allowed are {FORM} with files named {IMAGES!r}, and {JSON}"
    )


async def _form(request: Request) -> dict[str, Any]:
    """
    Raises:
        InvalidArgument: it is none.
    """
    given: dict[str, Any] = {}
    try:
        async with request.form() as form:
            for name, value in form.multi_items():
                if name == IMAGES:
                    given.setdefault(name, []).append(await value.read() if isinstance(value, UploadFile) else value)
                else:
                    given[name] = _number(value)
    except HTTPException as error:
        raise InvalidArgument(f"the form cannot be read: {error.detail}") from None
    except (ValueError, KeyError) as error:  # the parser's own errors
        raise InvalidArgument(f"the form cannot be read: {error}") from None
    return given


def _number(value: Any) -> Any:
    """A form holds texts, also for numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value


def _form_operation(route: str, max_items: int, top_k: bool) -> dict[str, Any]:
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": max_items}
    more = {TOP_K: {"type": "integer", "minimum": 1}} if top_k else {}
    form = {"schema": {"type": "object", "properties": {IMAGES: files, **more}, "required": [IMAGES]}}
    told = f"Also takes a form with files: curl -F {IMAGES}=@cat.png -F {IMAGES}=@dog.jpg"
    return {"paths": {route: {"post": {"description": told, "requestBody": {"content": {FORM: form}}}}}}
