"""Any PyTorch module or ONNX graph: arrays in, arrays out."""

from quantbento.tasks.tensor.task import TensorOptions, TensorTask

__all__ = ["TensorOptions", "TensorTask"]
