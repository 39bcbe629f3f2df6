"""What lm-eval asks is answered with the right tokens' log-probabilities, in batches, cut to the model's context."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.lm_eval.model import HarnessModel
from quantbento.runtimes.language_model import Sampling
from tests.judging.lm_eval.bigrams import CHOICES, QUESTIONS, TEXT, loaded, logprob

LONG = "if x = arguments(main)? else: y"  # more than 16 tokens


def asked(*arguments):
    return [SimpleNamespace(args=each) for each in arguments]


def model(of, batch_size=4, add_bos_token=False, advance=lambda done, total: None) -> HarnessModel:
    return HarnessModel(of, batch_size, add_bos_token, advance)


def ids(of, text) -> list[int]:
    return of.task.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_log_probabilities_are_of_the_continuation_alone_and_in_order():
    of, seen = loaded(), []
    pairs = [(question * (1 + i % 3), choice) for i, question in enumerate(QUESTIONS) for choice in CHOICES]
    found = model(of, advance=lambda done, total: seen.append((done, total))).loglikelihood(asked(*pairs))
    for (question, choice), (value, greedy) in zip(pairs, found, strict=True):
        before = ids(of, question)
        own = ids(of, question + choice)[len(before) :]
        assert value == pytest.approx(logprob(of, before, own), abs=1e-4)
        whole = [*before, *own]
        best = [int(of.runtime.logprobs[token].argmax()) for token in whole[len(before) - 1 : -1]]
        assert greedy is (best == own)
    assert max(count for count, _ in of.runtime.sizes) == 4
    assert seen[-1] == (len(pairs), len(pairs))


def test_the_most_probable_continuation_is_greedy():
    of = loaded()
    last = ids(of, "def")[-1]
    best = of.task.tokenizer.decode([int(of.runtime.logprobs[last].argmax())])
    harness = model(of)
    scored = [(None, ids(of, "def"), ids(of, best)), (None, ids(of, "def"), ids(of, best + "?"))]
    assert [greedy for _, greedy in harness._loglikelihood_tokens(scored)] == [len(ids(of, best)) == 1, False]


def test_an_empty_context_is_the_token_that_texts_begin_with():
    of = loaded()
    [(value, _)] = model(of).loglikelihood(asked(("", "main")))
    assert value == pytest.approx(logprob(of, [0], ids(of, "main")), abs=1e-4)


def test_a_long_prompt_loses_its_first_tokens():
    of = loaded(max_model_len=16)
    harness = model(of)
    [(value, _)] = harness.loglikelihood(asked((LONG, " 0")))
    whole = ids(of, LONG + " 0")
    own = whole[len(ids(of, LONG)) :]
    assert value == pytest.approx(logprob(of, whole[-15 : -len(own)], own), abs=1e-4)
    assert (harness.cut, of.runtime.sizes) == (1, [(1, 15)])


@pytest.mark.parametrize("most", [16, None], ids=["in-windows", "in-one"])
def test_a_whole_text_is_scored_once_per_token(most):
    of = loaded(max_model_len=most)
    texts = [TEXT * 2, "main"]
    found = model(of).loglikelihood_rolling(asked(*((text,) for text in texts)))
    for text, value in zip(texts, found, strict=True):
        # A model of bigrams sees the token before, wherever the window begins.
        assert value == pytest.approx(logprob(of, [0], ids(of, text)), abs=1e-3)


def test_prompts_with_the_same_limits_are_continued_together():
    of = loaded()
    short, long = {"until": ["\n"], "max_gen_toks": 3}, {"until": "stop", "max_new_tokens": 7, "do_sample": False}
    pairs = [(q, long if i % 2 else short) for i, q in enumerate(QUESTIONS)]
    found = model(of).generate_until(asked(*pairs))
    assert found == [f"{len(ids(of, q))}:{ids(of, q)[-1]}" for q in QUESTIONS]
    assert {sampling for _, sampling in of.runtime.asked} == {
        Sampling(max_tokens=3, stop=("\n", "</s>")),
        Sampling(max_tokens=7, stop=("stop", "</s>")),
    }
    assert sorted(len(prompts) for prompts, _ in of.runtime.asked) == [3, 3]


def test_a_prompt_leaves_room_for_what_is_new():
    of = loaded(max_model_len=16)
    harness = model(of)
    harness.generate_until(asked((LONG, {"until": [], "max_gen_toks": 5})))
    [([prompt], _)] = of.runtime.asked
    assert (prompt, harness.cut) == (ids(of, LONG)[-10:], 1)
    with pytest.raises(QuantbentoError, match="asks for 15 new tokens; the model takes 15 in all"):
        harness.generate_until(asked((TEXT, {"until": [], "max_gen_toks": 15})))


def test_sampling_is_seeded_and_what_is_not_known_is_refused():
    of = loaded()
    harness = model(of)
    harness.generate_until(asked(("x", {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "max_gen_toks": 3})))
    [(_, sampling)] = of.runtime.asked
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 1234)
    harness.generate_until(asked(("x", {"do_sample": False, "top_k": 5, "max_gen_toks": 3})))
    for more in ({"do_sample": True, "temperature": 1.0, "top_k": 5}, {"num_beams": 4}):
        with pytest.raises(QuantbentoError, match=r"generation_kwargs asks for '(top_k|num_beams)'"):
            harness.generate_until(asked(("x", {"max_gen_toks": 3, **more})))


def test_texts_begin_with_the_token_once():
    of = loaded()
    of.task.tokenizer.backend_tokenizer.post_processor = with_begin()
    assert model(of).tok_encode("main") == ids(of, "main")
    assert model(of, add_bos_token=True).tok_encode("main") == [0, *ids(of, "main")]
    history = [{"role": "user", "content": "What?"}]
    text = model(of).apply_chat_template(history)
    assert text == "<s>user: What?\nassistant: "
    assert model(of, add_bos_token=True).tok_encode(text).count(0) == 1


def with_begin():
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
