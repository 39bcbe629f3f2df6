"""A loaded language model as lm-eval asks it. It answers as lm-eval's `local-completions` does for a service of the
same artifact: the same token ids, cut at the same places. Imported only where lm-eval is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from quantbento.core.errors import QuantbentoError, one_of
from quantbento.core.progress import Advance
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.loaded import LoadedModel

SEED = 1234  # of tasks that sample: what `local-completions` sends
NEW_TOKENS = 256  # where a task names no limit
TAKEN = {"do_sample", "until", "max_gen_toks", "temperature", "top_p"}
SAMPLED = {"top_k", "min_p", "seed"}  # without effect where the most probable token is taken

Item = TypeVar("Item")
Result = TypeVar("Result")
Scored = tuple[Any, list[int], list[int]]  # what was asked, token ids before, and token ids to score


class HarnessModel(TemplateLM):
    """
    Args:
        loaded: a variant or the baseline, in its serving runtime.
        batch_size: most prompts per call of the runtime.
        add_bos_token: whether texts begin with the special tokens that the tokenizer puts there.
        advance: is called with (done, total) of each kind of request.

    Attributes:
        cut: prompts that were longer than the model's context and lost their first tokens.
    """

    def __init__(self, loaded: LoadedModel, batch_size: int, add_bos_token: bool, advance: Advance) -> None:
        super().__init__()
        self.runtime, self.tokenizer = loaded.runtime, loaded.task.tokenizer
        self._batch_size, self._add_bos_token, self._advance = batch_size, add_bos_token, advance
        most = self.runtime.max_model_len
        # One less, as in lm-eval's models of an API: engines make a token more than they score.
        self.max_length = None if most is None else most - 1
        self.cut = 0

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else begin

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids. A text that begins with the token (a chat template's) gets no second one."""
        special = self._add_bos_token if add_special_tokens is None else add_special_tokens
        begin = self.tokenizer.bos_token
        special = special and not (begin and string.startswith(begin))
        return list(self.tokenizer(string, add_special_tokens=special, verbose=False)["input_ids"])

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return super().loglikelihood(requests, disable_tqdm=True)  # its bar of tokenizing would break ours

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each whole text, in windows that do not overlap."""
        windows, owners = list[Scored](), list[int]()
        for number, request in enumerate(requests):
            ids = self.tok_encode(request.args[0])
            # The length that lm-eval's models of an API take; without a limit, one window holds all.
            most = self.max_length - 1 if self.max_length is not None else len(ids) + 1
            found = utils.get_rolling_token_windows(ids, self.prefix_token_id, max_seq_len=most, context_len=1)
            for window in found:
                windows.append((None, *utils.make_disjoint_window(window)))
                owners.append(number)
        totals = [0.0] * len(requests)
        for owner, (logprob, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += logprob
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        asked = [(self.tok_encode(context), self._sampling(kwargs)) for context, kwargs in (r.args for r in requests)]
        prompts = [(self._last(ids, sampling.max_tokens), sampling) for ids, sampling in asked]
        return self._in_batches(
            prompts,
            lambda item: (repr(item[1]), -len(item[0])),
            lambda batch: [g.text for g in self.runtime.generate([ids for ids, _ in batch], batch[0][1])],
            lambda one, other: one[1] == other[1],
        )

    def _loglikelihood_tokens(
        self, requests: Sequence[Scored], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Of each, the log-probability of its last part, and whether a greedy continuation would be it."""
        return self._in_batches(requests, lambda item: -len(item[1]) - len(item[2]), self._score)

    def _score(self, batch: Sequence[Scored]) -> list[tuple[float, bool]]:
        texts = [(self._last([*before, *own], 0), len(own)) for _, before, own in batch]
        # What stands behind a token has no effect on it: shorter texts are filled up with any token.
        windows = np.zeros((len(texts), max(len(ids) for ids, _ in texts)), np.int64)
        for window, (ids, _) in zip(windows, texts, strict=True):
            window[: len(ids)] = ids
        scored = self.runtime.score(windows, 1)
        results = []
        for row, (ids, count) in enumerate(texts):
            count = min(count, len(ids) - 1)  # a continuation that fills the context has no token before its first
            part = slice(len(ids) - 1 - count, len(ids) - 1)
            logprob = float(scored["token_logprobs"][row, part].sum(dtype=np.float64))
            greedy = bool((scored["top_ids"][row, part, 0] == ids[len(ids) - count :]).all())
            results.append((logprob, greedy))
        return results

    def _last(self, ids: list[int], more: int) -> list[int]:
        """The last tokens, so many that `more` new ones fit."""
        if self.max_length is None or len(ids) + more <= self.max_length:
            return ids
        if more >= self.max_length:
            raise QuantbentoError(f"a task asks for {more} new tokens; the model takes {self.max_length} in all")
        self.cut += 1
        return ids[more - self.max_length :]

    def _sampling(self, given: dict[str, Any]) -> Sampling:
        wanted = normalize_gen_kwargs(copy.deepcopy(given), NEW_TOKENS)
        temperature = float(wanted.get("temperature") or 0.0)
        other = {name for name in wanted if name not in TAKEN and not (temperature == 0 and name in SAMPLED)}
        if other:
            told = f"generation_kwargs asks for {one_of(sorted(other))}; {one_of(sorted(TAKEN))} are taken"
            raise QuantbentoError(f"a task's {told}")
        end = self.tokenizer.decode([self.eot_token_id]) if self.eot_token_id is not None else None
        stop = handle_stop_sequences(list(wanted["until"]), eos=end)
        return Sampling(
            max_tokens=wanted["max_gen_toks"],
            stop=tuple(text for text in stop if text),
            temperature=temperature,
            top_p=float(wanted.get("top_p", 1.0)) if temperature > 0 else 1.0,
            seed=SEED if temperature > 0 else None,
        )

    def _in_batches(
        self,
        items: Sequence[Item],
        order: Callable[[Item], Any],
        answer: Callable[[Sequence[Item]], list[Result]],
        together: Callable[[Item, Item], bool] = lambda one, other: True,
    ) -> list[Result]:
        """The answers in the order of the items. Items of like length are answered together, the longest first, so that
        a model without enough memory says so at once."""
        places = sorted(range(len(items)), key=lambda place: order(items[place]))
        results: dict[int, Result] = {}
        batch: list[int] = []
        for turn, place in enumerate(places):
            batch.append(place)
            following = places[turn + 1] if turn + 1 < len(places) else None
            full = len(batch) == self._batch_size
            if full or following is None or not together(items[place], items[following]):
                results |= zip(batch, answer([items[p] for p in batch]), strict=True)
                self._advance(len(results), len(items))
                batch = []
        return [results[place] for place in range(len(items))]
