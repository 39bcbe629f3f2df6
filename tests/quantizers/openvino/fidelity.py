"""How close a quantized model's answers are to full precision."""

import numpy as np
import torch

from quantbento.tasks.metrics import sqnr_db


def fidelity(job, predictor):
    """SQNR in dB on the samples, of a job with a module of one input and one output."""
    items = job.samples.inputs
    with torch.no_grad():
        expected = job.source.module(torch.from_numpy(np.stack(items))).numpy()
    return sqnr_db(expected, np.stack(predictor(items)))
