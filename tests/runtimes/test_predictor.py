"""Answers come in the order of the inputs, whatever order they ran in; a bad input is named by its position."""

import threading

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.core.machine import default_threads
from quantbento.recipe import ModelSpec
from quantbento.runtimes.base import ArrayRuntime
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.source import SampleSet
from quantbento.tasks.text_classification import TextClassification, TextClassificationOptions
from tests.conftest import labelled_texts
from tests.jobs import load_source


class Sums(ArrayTask):
    """Lists of integers; an answer is [their sum, the length they were padded to]."""

    name, metrics, primary, chunk_items, concurrent = "sums", {}, (), 3, True
    input_names, output_names = ["values"], ["row"]
    create = load = save = compare = examples = item_schema = answer_schema = None

    def check(self, item):
        if not isinstance(item, list):
            raise InvalidInput("must be a list")
        return item

    def encode(self, item):
        return item

    def length(self, encoded):
        return len(encoded)

    def collate(self, encoded):
        width = max(map(len, encoded))
        return {"values": np.array([e + [0] * (width - len(e)) for e in encoded])}

    def postprocess(self, outputs, batch):
        return outputs

    def answers(self, rows, items):
        return rows["row"].tolist()


class Adder(ArrayRuntime):
    """Records the chunks it ran."""

    name = extra = "adder"

    def __init__(self):
        self.chunks, self.threads = [], set()

    load = None

    def run(self, batch):
        values = batch["values"]
        self.chunks.append(values.shape)
        self.threads.add(threading.current_thread().name)
        return {"row": np.stack([values.sum(1), np.full(len(values), values.shape[1])], axis=1)}


class Meeting(Adder):
    """Each chunk waits for another one that runs at the same time."""

    def __init__(self):
        super().__init__()
        self.barrier = threading.Barrier(2, timeout=30)

    def run(self, batch):
        self.barrier.wait()
        return super().run(batch)


def lists(*lengths):
    return [[i + 1] * length for i, length in enumerate(lengths)]


@pytest.fixture(scope="module")
def classifier(tiny_classifier):
    source = load_source(ModelSpec(path=tiny_classifier), "text-classification")
    task = TextClassification.create(source, TextClassificationOptions(), SampleSet([""]))
    return Predictor(task, TorchRuntime(source.module, None, task.output_names), {})


def test_inputs_are_grouped_by_length_and_answered_in_order():
    runtime = Adder()
    inputs = lists(1, 9, 2, 8, 1, 7, 3)
    answers = Predictor(Sums(), runtime, {})(inputs)
    assert runtime.chunks == [(2, 9), (2, 7), (3, 2)]  # the longest first, little padding
    assert [total for total, _ in answers] == [sum(values) for values in inputs]
    assert [width for _, width in answers] == [2, 9, 2, 9, 2, 7, 7]


class Parted(Sums):
    """Even and odd first numbers do not share a batch."""

    def group(self, encoded):
        return encoded[0] % 2


def test_inputs_of_one_group_share_a_batch_and_others_do_not():
    runtime = Adder()
    inputs = lists(4, 4, 4, 2, 4, 4, 4)  # four odd, three even
    answers = Predictor(Parted(), runtime, {})(inputs)
    assert runtime.chunks == [(2, 4), (2, 4), (3, 4)]
    assert [total for total, _ in answers] == [sum(values) for values in inputs]
    assert Parted().calibrate(inputs, None)[0]["values"][:, 0].tolist() == [1, 3, 5]


def test_chunks_run_side_by_side_where_the_runtime_allows_it():
    runtime = Meeting()
    predictor = Predictor(Sums(), runtime, {}, parallel=2)
    inputs = lists(*range(1, 13))
    assert [total for total, _ in predictor(inputs)] == [sum(values) for values in inputs]
    assert len(runtime.threads) == 2
    predictor.close()
    predictor.close()  # once more does no harm
    with pytest.raises(RuntimeError, match="after shutdown"):
        predictor(inputs)


def test_chunks_run_one_after_the_other_elsewhere():
    runtime = Adder()
    Predictor(Sums(), runtime, {})(lists(*range(1, 13)))
    assert runtime.threads == {threading.current_thread().name}


def test_many_together_answer_as_one_at_a_time(classifier):
    texts = labelled_texts(50, seed=6)[0]
    together = classifier(texts)
    alone = [classifier([text])[0] for text in texts]
    assert [a["label"] for a in together] == [a["label"] for a in alone]
    np.testing.assert_allclose([a["score"] for a in together], [a["score"] for a in alone], atol=1e-5)
    assert len({a["score"] for a in alone}) > 25  # so that a wrong order would be seen


def test_no_inputs_are_no_answers():
    runtime = Adder()
    assert Predictor(Sums(), runtime, {})([]) == []
    assert runtime.chunks == []


def test_preprocess_sees_each_input_first():
    predictor = Predictor(Sums(), Adder(), {"preprocess": lambda text: [int(c) for c in text]})
    assert predictor(["12", "345"]) == [[3, 3], [12, 3]]
    assert predictor.check(["12"]) == [[1, 2]]


def test_other_custom_objects_are_carried_not_called():
    def unused(item):
        raise AssertionError

    predictor = Predictor(Sums(), Adder(), {"postprocess": unused})
    assert predictor([[1]]) == [[1, 1]]
    assert predictor.custom_objects["postprocess"] is unused


@pytest.mark.parametrize(
    ("preprocess", "inputs", "message"),
    [
        (None, [[1], [2], "x"], "item 2: must be a list"),
        (list, [[1], 7], r"item 1: preprocess failed: TypeError: 'int' object is not iterable"),
        (lambda item: str(item), [[1]], "item 0: must be a list"),
    ],
    ids=["input", "preprocess", "preprocessed"],
)
def test_a_bad_input_is_named_by_its_place(preprocess, inputs, message):
    runtime = Adder()
    custom = {"preprocess": preprocess} if preprocess else {}
    with pytest.raises(InvalidInput, match=message) as caught:
        Predictor(Sums(), runtime, custom)(inputs)
    assert caught.value.index == len(inputs) - 1
    assert runtime.chunks == []  # nothing runs before everything is checked


def test_an_engine_s_error_is_not_taken_for_the_user_s():
    class Broken(Adder):
        def run(self, batch):
            raise MemoryError

    with pytest.raises(MemoryError):
        Predictor(Sums(), Broken(), {})([[1]])


def test_default_threads_are_those_of_this_process():
    import os

    before = os.sched_getaffinity(0)
    assert default_threads() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert default_threads() == 1
    finally:
        os.sched_setaffinity(0, before)
