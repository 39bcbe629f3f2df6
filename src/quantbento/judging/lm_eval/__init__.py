"""lm-evaluation-harness (lm-eval) on a loaded language model, without a server between them.

1. tasks: the recipe's tasks, found in lm-eval's index or in a folder of the user's, with everything wrong with them
2. model: what the harness asks (`loglikelihood`, `loglikelihood_rolling`, `generate_until`), answered by a runtime
3. scores: each task's figure for one model
4. recovery: a variant's figures beside the baseline's

The package `lm_eval` is imported inside functions, and in `model`, which is itself imported inside one.
"""
