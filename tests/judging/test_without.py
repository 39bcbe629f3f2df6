"""Models that work without batches, or without a KV cache."""

from __future__ import annotations

from types import SimpleNamespace

from quantbento.judging.without import WithoutBatching, WithoutCache
from quantbento.runtimes.language_model import Generated


class Counting:
    def __init__(self):
        self.calls = []

    def work(self, inputs):
        self.calls.append(list(inputs))
        return len(inputs)

    def check(self, inputs):
        return list(inputs)


def test_without_batching_inputs_come_one_by_one():
    loaded = Counting()
    assert WithoutBatching(loaded).work(["a", "b", "c"]) == 3
    assert loaded.calls == [["a"], ["b"], ["c"]]


def test_without_a_cache_every_token_reads_its_whole_prompt_again():
    read = []

    def generate(prompts, sampling):
        assert sampling.max_tokens == 1
        read.append([list(prompt) for prompt in prompts])
        return [Generated("", [10 * len(read) + i], "length") for i, _ in enumerate(prompts)]

    loaded = Counting()
    loaded.runtime = SimpleNamespace(generate=generate)
    options = SimpleNamespace(prompt_tokens=2, new_tokens=3)
    loaded.task = SimpleNamespace(text_ids=lambda item: [ord(letter) for letter in item], options=options)
    assert WithoutCache(loaded).work(["\1\2\3", "\4\5"]) == 6
    assert read == [[[1, 2], [4, 5]], [[1, 2, 10], [4, 5, 11]], [[1, 2, 10, 20], [4, 5, 11, 21]]]
