"""A job with calibration samples, and how near its result is."""

from __future__ import annotations

import numpy as np
import torch

from quantbento.tasks.metrics import sqnr_db
from tests.jobs import job_of


def job(module, inputs, workspace):
    made = job_of(module, list(inputs), workspace)
    made.calibration = made.task.calibrate([made.task.check(item) for item in inputs], None)
    return made


def fidelity(module, predictor, inputs):
    with torch.no_grad():
        expected = module(torch.from_numpy(np.stack(inputs))).numpy()
    return sqnr_db(expected, np.stack(predictor(list(inputs))))
