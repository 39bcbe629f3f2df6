"""Tokens are drawn as often as their probabilities say, and each row has its own random numbers."""

import pytest
import torch

from quantbento.runtimes.decoding import Choice
from quantbento.runtimes.language_model import Sampling

PROBABILITIES = torch.tensor([0.1, 0.5, 0.0, 0.4])


def draws(count=2000, scores=None, **sampling):
    """How often each token was drawn."""
    scores = PROBABILITIES.log()[None] if scores is None else scores
    choice = Choice(Sampling(seed=0, **sampling), 1, torch.device("cpu"))
    chosen = torch.cat([choice(None, scores).argmax(-1) for _ in range(count)])
    return torch.bincount(chosen, minlength=4) / count


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"temperature": 1.0}, [0.1, 0.5, 0.0, 0.4]),
        ({"temperature": 0.5}, [1 / 42, 25 / 42, 0.0, 16 / 42]),
        ({"temperature": 1.0, "top_p": 0.85}, [0.0, 5 / 9, 0.0, 4 / 9]),
        ({"temperature": 1.0, "top_p": 0.95}, [0.1, 0.5, 0.0, 0.4]),
        ({"temperature": 1.0, "top_p": 0.3}, [0.0, 1.0, 0.0, 0.0]),
        ({"temperature": 1e-40}, [0.0, 1.0, 0.0, 0.0]),
        ({"temperature": 1e-60}, [0.0, 1.0, 0.0, 0.0]),
        ({"temperature": 0.0}, [0.0, 1.0, 0.0, 0.0]),
    ],
    ids=["as-they-are", "colder", "top-p", "top-p-of-all", "top-p-of-one", "nearly-greedy", "no-float32", "greedy"],
)
def test_tokens_are_drawn_by_their_probability(sampling, expected):
    torch.testing.assert_close(draws(**sampling), torch.tensor(expected), atol=0.04, rtol=0)


def test_rows_with_one_seed_draw_the_same():
    choice = Choice(Sampling(seed=3, temperature=1.0), 2, torch.device("cpu"))
    scores = torch.zeros(2, 1000)
    for _ in range(5):
        first, second = choice(None, scores).argmax(-1).tolist()
        assert first == second


def test_without_a_seed_rows_differ():
    choice = Choice(Sampling(temperature=1.0), 2, torch.device("cpu"))
    first, second = choice(None, torch.zeros(2, 10**6)).argmax(-1).tolist()
    assert first != second
