"""Causal language models through Transformers: checkpoints in hub format (bitsandbytes checkpoints say how they are
quantized) and pickled modules. Unpickling runs code: only load a folder you made, or one the store has verified."""

from __future__ import annotations

import contextlib
import json
import pickle
import threading
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.core.devices import torch_problem
from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes.adapters import adapter_folders
from quantbento.runtimes.continuation import Continuation
from quantbento.runtimes.in_process import InProcessModel
from quantbento.runtimes.language_model import Generated, Sampling

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

    from quantbento.runtimes.decoding import NewTokens

CAUSAL, VISION_LANGUAGE = "AutoModelForCausalLM", "AutoModelForImageTextToText"
LOGITS_BYTES = 256_000_000  # of one forward pass when scoring, in float32


class TransformersRuntime(InProcessModel):
    """`config` names a pickled module (`pickled`), or the `dtype` to load the checkpoint in (its own by default)."""

    name = "transformers"
    modules = ("torch", "transformers", "accelerate")
    distributions = ("torch", "transformers", "accelerate", "bitsandbytes", "tokenizers")
    extra = "transformers"
    devices = ("cpu", "cuda")
    gpu_distribution = "nvidia-cuda-runtime"
    takes_adapters = True
    start_seconds = 300

    def __init__(self, module: Any, tokenizer: Any, defaults: GenerationConfig) -> None:
        from transformers import GenerationConfig

        self.module, self._tokenizer = module, tokenizer
        ends = defaults.eos_token_id
        self._ends: set[int] = set() if ends is None else set(ends if isinstance(ends, list) else [ends])
        # Otherwise a checkpoint's suggestions (top_k, a repetition penalty) would apply where a caller sets nothing.
        module.generation_config = GenerationConfig()
        text_config = module.config.get_text_config()
        self._vocabulary: int = text_config.vocab_size
        self._max_model_len: int | None = getattr(text_config, "max_position_embeddings", None)

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        import torch
        from transformers import AutoTokenizer, GenerationConfig

        torch.set_num_threads(threads)  # for the whole process: torch has no narrower setting
        try:
            if "pickled" in config:
                module = _unpickle(folder / config["pickled"]).to(device)
            else:
                module = _read(folder, config.get("dtype", "auto"), device)
            defaults = module.generation_config
            if names := tuple(config.get("adapters", ())):
                module = _with_adapters(module, folder, names)
            if (folder / "generation_config.json").is_file():
                defaults = GenerationConfig.from_pretrained(folder)
            model = cls(module.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True), defaults)
            model.adapters = names
            return model
        except (ImportError, OSError, ValueError) as error:
            raise QuantbentoError(
                f"{folder} could not be loaded by the transformers runtime: {summary(error)}. If a package is missing, "
                "run: pip install 'quantbento[transformers]'"
            ) from error

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        return torch_problem(device)

    @property
    def max_model_len(self) -> int | None:
        return self._max_model_len

    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        import torch

        count, length = windows.shape
        found = self._empty_scores(windows, top)
        # As many windows at a time as LOGITS_BYTES allows. If one window has too many logits, one span of it at a time.
        positions = max(1, LOGITS_BYTES // (4 * self._vocabulary))
        rows, span = max(1, positions // length), min(positions, length)
        for first in range(0, count, rows):
            tokens = torch.from_numpy(windows[first : first + rows]).to(self.module.device)
            cache = None
            for start in range(0, length - 1, span):
                stop = min(start + span, length - 1)
                with torch.inference_mode(), self._chosen_adapter():
                    output = self.module(tokens[:, start:stop], past_key_values=cache, use_cache=span < length - 1)
                cache = output.get("past_key_values")
                for name, values in _logprobs(output.logits, tokens[:, start + 1 : stop + 1], top).items():
                    found[name][first : first + rows, start:stop] = values
        return found

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generated]:
        """See `LanguageModel`. With a `seed`, each prompt is continued as if it were alone.

        Raises:
            InvalidInput: a prompt the model cannot take; `index` says which.
        """
        from quantbento.runtimes.decoding import NewTokens

        rows = [self._continuation(prompt, sampling, index) for index, prompt in enumerate(prompts)]
        if rows:
            self._continue(prompts, sampling, NewTokens(rows))
        return [row.generated() for row in rows]

    def close(self) -> None:
        import torch

        self.module = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _pieces(self, prompt: Sequence[int], sampling: Sampling, row: Continuation) -> Generator[str, None, Generated]:
        from quantbento.runtimes.decoding import NewTokens

        pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
        closed = threading.Event()

        def tell(piece: str) -> None:
            if closed.is_set():
                raise _Closed
            pieces.put(piece)

        def run() -> None:
            try:
                self._continue([prompt], sampling, NewTokens([row], tell))
                pieces.put(None)
            except BaseException as error:  # raised where the pieces are read
                pieces.put(error)

        thread = threading.Thread(target=run, name="quantbento-stream", daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                if piece:
                    yield piece
        finally:
            closed.set()
            thread.join()
        return row.generated()

    def _continue(self, prompts: Sequence[Sequence[int]], sampling: Sampling, new_tokens: NewTokens) -> None:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        from quantbento.runtimes.decoding import Choice

        width = max(len(prompt) for prompt in prompts)
        # The padding is masked, so any token will do, also where the tokenizer has no padding token.
        tokens = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self.module.device
        with self._chosen_adapter():
            self.module.generate(
                input_ids=torch.tensor(tokens, device=device),
                attention_mask=torch.tensor(mask, device=device),
                generation_config=GenerationConfig(max_new_tokens=sampling.max_tokens, do_sample=False, use_cache=True),
                logits_processor=LogitsProcessorList([Choice(sampling, len(prompts), device)]),
                stopping_criteria=StoppingCriteriaList([new_tokens]),
            )

    @contextlib.contextmanager
    def _chosen_adapter(self) -> Generator[None]:
        """The module with the adapter that this model runs with, or with none. The module is shared: as any call, one
        at a time."""
        if not self.adapters:
            yield
        elif self.adapter is None:
            with self.module.disable_adapter():
                yield
        else:
            self.module.set_adapter(self.adapter)
            yield


class _Closed(Exception):
    """Nobody reads the stream any more."""


def _logprobs(logits: torch.Tensor, following: torch.Tensor, top: int) -> dict[str, np.ndarray]:
    """The results of `score` for logits (windows, positions, vocabulary) and the tokens that follow."""
    from quantbento.runtimes.decoding import refuse_nan

    logprobs = logits.float().log_softmax(-1)
    refuse_nan(logprobs)
    best = logprobs.topk(top)
    found = {
        "token_logprobs": logprobs.gather(-1, following[..., None])[..., 0],
        "top_ids": best.indices,
        "top_logprobs": best.values,
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def _read(folder: Path, dtype: str, device: str) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    device_map = {"cpu": None, "cuda": "auto"}.get(device, device)  # `cuda` is all GPUs
    module, told = getattr(transformers, auto_class_of(folder)).from_pretrained(
        folder, dtype=dtype, device_map=device_map, local_files_only=True, output_loading_info=True
    )
    # Transformers fills what it does not find with random numbers, such as experts by names that it does not know.
    if missing := sorted(told["missing_keys"]):
        raise ValueError(f"it has no weights for {', '.join(missing[:4])}{' ...' * (len(missing) > 4)}")
    return module


def auto_class_of(folder: Path) -> str:
    """Which of Transformers' classes reads a model whole: a vision-language model is read with its vision tower."""
    from transformers.models.auto import modeling_auto

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with_vision = config.get("model_type") in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return VISION_LANGUAGE if with_vision and "vision_config" in config else CAUSAL


def _with_adapters(module: Any, folder: Path, names: Sequence[str]) -> Any:
    """The module with PEFT adapters in its layers, all of them off or on by name."""
    from peft import PeftModel

    first, *others = adapter_folders(folder, names).items()
    with warnings.catch_warnings():
        # Without this, an adapter whose names do not fit the model would change nothing and raise nothing.
        warnings.filterwarnings("error", "Found missing adapter keys")
        module = PeftModel.from_pretrained(module, str(first[1]), adapter_name=first[0])
        for name, place in others:
            module.load_adapter(str(place), adapter_name=name)
    return module


def _unpickle(path: Path) -> Any:
    with path.open("rb") as file, warnings.catch_warnings():
        # Quantized tensors are rebuilt by a deprecated path inside torch, which we cannot change.
        warnings.simplefilter("ignore")
        return pickle.load(file)
