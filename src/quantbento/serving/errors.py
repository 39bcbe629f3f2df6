"""Errors of services, each with the HTTP status that a client gets."""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus

from bentoml.exceptions import BentoMLException, InvalidArgument

from quantbento.serving.asgi import CLIENT_LEFT


class _Status(IntEnum):
    CLIENT_CLOSED_REQUEST = CLIENT_LEFT


class ItemFailed(BentoMLException):
    """The model could not answer an input that had passed its checks."""

    error_code = HTTPStatus.UNPROCESSABLE_ENTITY
    logged = "the model failed on an item"  # why, without the client's data, was logged before


class InvalidJson(InvalidArgument):
    """A body that is not JSON, or that means two things."""

    logged = "the body is not valid JSON"


class BodyTooLarge(BentoMLException):
    """A body without a declared length turned out too large."""

    error_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotAcceptable(BentoMLException):
    """The answers do not exist in the form that the client asked for."""

    error_code = HTTPStatus.NOT_ACCEPTABLE


class UnsupportedMediaType(BentoMLException):
    """A body of a content type that the endpoint does not take."""

    error_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class CannotServe(BentoMLException):
    """The service cannot start; BentoML prints it as one line."""


class Overloaded(BentoMLException):
    """A request that would be late, or for which there is no room. It was refused before anything was computed.

    Attributes:
        retry_after: in so many seconds there is room.
    """

    error_code = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClientLeft(BentoMLException):
    """Nobody waits for the answer."""

    error_code = _Status.CLIENT_CLOSED_REQUEST  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("the client left")


class EngineUnavailable(BentoMLException):
    """The engine behind a service is not running now."""

    error_code = HTTPStatus.SERVICE_UNAVAILABLE
