"""`quantbento play`: a service for each of one or two stored models, and one page that asks them.

The services run as `quantbento serve` runs them, on free ports of 127.0.0.1, and end with the page.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from quantbento.core.errors import QuantbentoError
from quantbento.serving.command import ServeCommand, free_port, port_problem, serve_command
from quantbento.serving.playground.proxy import side_by_side
from quantbento.serving.started import HOST, started


def check(tags: Sequence[str], given: Mapping[str, str], port: int) -> list[ServeCommand]:
    """What would run, before anything does.

    Args:
        tags: of one stored model, or of two for one task.
        given: settings of their services.
        port: of the page.

    Raises:
        QuantbentoError: the port is taken; a model cannot be served, as `serve_command` says; the two are for two
            tasks.
    """
    if len(tags) > 2:
        raise QuantbentoError(f"{len(tags)} models: one is tried, or two are compared")
    if problem := port_problem(HOST, port):
        raise QuantbentoError(problem)
    commands = [serve_command(tag, given, HOST, free_port()) for tag in tags]
    if len({command.task for command in commands}) > 1:
        tasks = " and ".join(f"{command.tag} for {command.task}" for command in commands)
        raise QuantbentoError(f"{tasks}: answers can be compared only of models for one task. See: quantbento models")
    return commands


def play(tags: Sequence[str], given: Mapping[str, str], port: int, ready: Callable[[str], None]) -> None:
    """Serves the models and the page until Ctrl-C or SIGTERM; `ready` is told the page's address.

    Raises:
        QuantbentoError: a service does not start.
    """
    import uvicorn

    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by(signal.SIGTERM))
        urls = [stack.enter_context(started(tag, given)).url for tag in tags]
        page = side_by_side(urls, needs_key="api_keys_file" in given)
        ready(f"http://{HOST}:{port}")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(page, HOST, port, log_level="warning")).run()


@contextlib.contextmanager
def _ended_by(number: signal.Signals) -> Iterator[None]:
    """A signal that would end the process at once, and leave the services behind, ends it as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        yield
    finally:
        signal.signal(number, before)
