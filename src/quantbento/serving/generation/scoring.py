"""What a completion of a model in this process tells beside its text: the prompt again (`echo`), and tokens with their
log-probabilities (`logprobs`), as OpenAI's legacy completions have them.

Texts are made first. Then each is scored together with its prompt, in one pass: the log-probabilities are the model's
own, whatever the temperature was.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from quantbento.runtimes.language_model import Generated
from quantbento.runtimes.text_generator import TextGenerator
from quantbento.serving.generation.openai_texts import Told
from quantbento.serving.generation.requests import CompletionRequest, GenerationRequest
from quantbento.serving.generation.sampling import Choice

LOWEST = -9999.0  # JSON has no infinity


def tells_more(asked: GenerationRequest) -> bool:
    """Whether `told` has anything to add to the texts."""
    return isinstance(asked, CompletionRequest) and (bool(asked.echo) or asked.logprobs is not None)


def told(
    asked: CompletionRequest,
    choices: Sequence[Choice],
    done: Sequence[Generated],
    loaded: TextGenerator,
    left: threading.Event,
) -> list[Told]:
    """What each choice tells; fewer once `left` is set, for then nobody waits.

    Raises:
        InvalidInput: a prompt the model cannot take.
    """
    decoded, tellings = _Decoded(loaded.task.tokenizer), list[Told]()
    for index, (choice, generated) in enumerate(zip(choices, done, strict=True)):
        if left.is_set():
            break
        before = _text(asked, index // (asked.n or 1), choice, loaded.task.tokenizer) if asked.echo else ""
        logprobs = None
        if asked.logprobs is not None:
            ids = [*choice.prompt, *generated.token_ids]
            scored = loaded.runtime.score(np.asarray([ids], np.int64), asked.logprobs)
            logprobs = _logprobs(ids, 0 if asked.echo else len(choice.prompt), scored, decoded)
        tellings.append(Told(before + generated.text, logprobs))
    return tellings


def nothing() -> Generator[str, None, Generated]:
    """The stream of a choice without new tokens, which only echoes its prompt."""
    yield from ()
    return Generated("", [], "length")


def _text(asked: CompletionRequest, index: int, choice: Choice, tokenizer: Any) -> str:
    """A prompt as the client wrote it, or the text of its token ids."""
    given = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[index]
    return given if isinstance(given, str) else tokenizer.decode(choice.prompt)


def _logprobs(ids: list[int], first: int, scored: dict[str, np.ndarray], decoded: _Decoded) -> dict[str, Any]:
    """OpenAI's `logprobs` of the tokens from `first` on. The first of all has none: nothing comes before it."""
    tokens = [decoded[token] for token in ids[first:]]
    own: list[float | None] = []
    most_probable: list[dict[str, float] | None] = []
    for place in range(first, len(ids)):
        if place == 0:
            own.append(None)
            most_probable.append(None)
            continue
        of_next = {name: values[0, place - 1] for name, values in scored.items()}
        logprob = max(float(of_next["token_logprobs"]), LOWEST)
        own.append(logprob)
        listed = {decoded[ids[place]]: logprob}
        for token, logprob in zip(of_next["top_ids"].tolist(), of_next["top_logprobs"].tolist(), strict=True):
            name = decoded[token]  # halves of a character look the same; the most probable stands for all
            listed[name] = max(listed.get(name, LOWEST), logprob)
        most_probable.append(listed)
    offsets = np.cumsum([0, *map(len, tokens)])[:-1].tolist()
    return {"text_offset": offsets, "token_logprobs": own, "tokens": tokens, "top_logprobs": most_probable}


class _Decoded(dict[int, str]):
    """The text of a token, decoded once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        self[token] = self._tokenizer.decode([token])
        return self[token]
