"""Causal language models through llama.cpp: one GGUF file beside the tokenizer's files.

Prompts come as token ids, so llama.cpp's own tokenizer is not used. Prompts of one call run one after the other.
"""

from __future__ import annotations

import ctypes
import logging
import random
import weakref
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.files import link_or_copy
from quantbento.runtimes.base import ReferenceJob
from quantbento.runtimes.continuation import Continuation
from quantbento.runtimes.in_process import InProcessModel
from quantbento.runtimes.language_model import Generated, Sampling

if TYPE_CHECKING:
    from llama_cpp import Llama

MODEL = "model.gguf"
# llama.cpp takes the memory of the whole context when it loads: 128 KiB a token for Llama 3.1 8B.
LONGEST = 8192
BATCH = 512  # tokens in one pass


class LlamaCppSettings(BaseModel):
    """Names are those of vLLM's settings, which a recipe may have beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    max_model_len: int | None = Field(
        None,
        ge=16,
        le=10_000_000,
        description=f"most tokens of a prompt and its continuation; the model's by default, but at most {LONGEST}",
    )


class LlamaCppRuntime(InProcessModel):
    """`config["engine"]` holds the recipe's `LlamaCppSettings`."""

    name = "llama-cpp"
    modules = ("llama_cpp", "transformers")
    distributions = ("llama-cpp-python", "transformers", "tokenizers")
    extra = "llama-cpp"
    Settings = LlamaCppSettings

    def __init__(self, llama: Llama, tokenizer: Any) -> None:
        import llama_cpp

        self._llama, self._tokenizer = llama, tokenizer
        # Also when Python ends: after that, llama-cpp-python's own finalizer finds its modules gone.
        self._close = weakref.finalize(self, llama.close)
        vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
        self._vocabulary = llama.n_vocab()
        self._ends = {t for t in range(self._vocabulary) if llama_cpp.llama_vocab_is_eog(vocabulary, t)}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        from llama_cpp import Llama
        from transformers import AutoTokenizer

        settings = LlamaCppSettings.model_validate(config.get("engine", {}))
        path = str(folder / MODEL)
        try:
            longest = settings.max_model_len or min(_trained_length(path), LONGEST)
            llama = Llama(
                path,
                n_ctx=longest,
                n_batch=BATCH,
                n_threads=threads,
                n_threads_batch=threads,
                verbose=False,
            )
            return cls(llama, AutoTokenizer.from_pretrained(folder, local_files_only=True))
        except (OSError, ValueError) as error:
            raise QuantbentoError(f"{path} could not be loaded by llama.cpp: {summary(error)}") from error

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        """The checkpoint as a GGUF file in its own dtype."""
        if job.source.folder is None or job.source.dtype != dtype:
            return None
        link_or_copy(job.gguf(), folder / MODEL)
        return {}

    @property
    def max_model_len(self) -> int:
        return self._llama.n_ctx()

    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        found = self._empty_scores(windows, top)
        for row, window in enumerate(windows):
            for start, logits in self._logits(window[:-1]):
                stop = start + len(logits)
                for name, values in _logprobs(logits, window[start + 1 : stop + 1], top).items():
                    found[name][row, start:stop] = values
        return found

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generated]:
        """See `LanguageModel`. With a `seed`, each prompt is continued as if it were alone.

        Raises:
            InvalidInput: a prompt the model cannot take; `index` says which.
        """
        rows = [self._continuation(prompt, sampling, index) for index, prompt in enumerate(prompts)]
        for prompt, row in zip(prompts, rows, strict=True):
            for _ in self._pieces(prompt, sampling, row):
                pass
        return [row.generated() for row in rows]

    def close(self) -> None:
        self._close()

    def _pieces(self, prompt: Sequence[int], sampling: Sampling, row: Continuation) -> Generator[str, None, Generated]:
        # llama-cpp-python goes on from the tokens that a prompt shares with the one before. Then a prompt's speed would
        # depend on what ran before it, and in the last digits its logits, too.
        self._llama.reset()
        self._llama.set_seed(random.randrange(2**32) if sampling.seed is None else sampling.seed % 2**32)
        tokens = self._llama.generate(
            list(prompt), temp=sampling.temperature, top_p=sampling.top_p, top_k=0, min_p=0.0, repeat_penalty=1.0
        )
        for token in tokens:
            if piece := row.add(int(token)):
                yield piece
            if row.finish_reason is not None:
                break
        return row.generated()

    def _logits(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """For each batch of a sequence its first position, and its logits, float32 (positions, vocabulary)."""
        import llama_cpp

        context = self._llama.ctx
        self._llama.reset()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        try:
            for start in range(0, len(tokens), BATCH):
                part = tokens[start : start + BATCH]
                batch.n_tokens = len(part)
                for place, token in enumerate(part):
                    batch.token[place], batch.pos[place], batch.logits[place] = int(token), start + place, 1
                    batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                if code := llama_cpp.llama_decode(context, batch):
                    raise QuantbentoError(f"llama.cpp could not run the model (llama_decode gave {code})")
                shape = (len(part), self._vocabulary)
                pointer = ctypes.cast(llama_cpp.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
                yield start, np.ctypeslib.as_array(pointer, shape).copy()  # the next pass writes there
        finally:
            llama_cpp.llama_batch_free(batch)
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)


def _trained_length(path: str) -> int:
    """The tokens that the model was trained on at once, from the file's header: no weight is read.

    Raises:
        QuantbentoError: it is no GGUF file.
        ValueError: it does not say so.
    """
    import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # as `verbose=False` does, but only later
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    header = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
    if not header:
        raise QuantbentoError(f"{path} could not be loaded by llama.cpp: this version of it reads no such model")
    try:
        value = ctypes.create_string_buffer(64)
        llama_cpp.llama_model_meta_val_str(header, b"general.architecture", value, len(value))
        llama_cpp.llama_model_meta_val_str(header, value.value + b".context_length", value, len(value))
        return int(value.value)
    finally:
        llama_cpp.llama_model_free(header)


def _logprobs(logits: np.ndarray, following: np.ndarray, top: int) -> dict[str, np.ndarray]:
    """The results of `score` for logits (positions, vocabulary) and the tokens that follow."""
    if np.isnan(logits).any():
        raise QuantbentoError("the model's logits are not numbers (NaN): its quantization or its weights are broken")
    highest = logits.max(-1, keepdims=True)
    logprobs = logits - highest - np.log(np.exp(logits - highest).sum(-1, keepdims=True))
    best = np.argpartition(-logprobs, top - 1, axis=-1)[:, :top]
    order = np.argsort(-np.take_along_axis(logprobs, best, -1), axis=-1, kind="stable")
    best = np.take_along_axis(best, order, -1)
    return {
        "token_logprobs": np.take_along_axis(logprobs, following[:, None], -1)[:, 0],
        "top_ids": best,
        "top_logprobs": np.take_along_axis(logprobs, best, -1),
    }
