"""Errors of services, each with the HTTP status that a client gets."""

from __future__ import annotations

from http import HTTPStatus

from bentoml.exceptions import BentoMLException


class ItemFailed(BentoMLException):
    """The model could not answer an input that had passed its checks."""

    error_code = HTTPStatus.UNPROCESSABLE_ENTITY


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


class EngineUnavailable(BentoMLException):
    """The engine behind a service is not running now."""

    error_code = HTTPStatus.SERVICE_UNAVAILABLE
