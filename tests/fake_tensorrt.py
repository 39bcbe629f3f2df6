"""A stand-in for TensorRT and for a GPU: it notes what it is asked for, and computes with ONNX Runtime on the CPU, on
the addresses that it is given. So it shows that tensors go in and out by their names, types and shapes; not more."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import enum
import json
import sys
from importlib.machinery import ModuleSpec
from math import prod
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import torch

from quantbento.core import machine
from quantbento.runtimes import tensorrt_engine

TYPES = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT64", "tensor(bool)": "BOOL"}
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "BOOL": np.bool_}


class Flag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class Mode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def __init__(self):
        pass


class Fake(ModuleType):
    """The module. `parse_errors` and `build_error` make it fail; `made` counts the engines that were built."""

    def __init__(self, version: str = "10.13.0"):
        super().__init__("tensorrt")
        self.__version__, self.__spec__ = version, ModuleSpec("tensorrt", None)
        self.ILogger, self.NetworkDefinitionCreationFlag, self.TensorIOMode = ILogger, Flag, Mode
        self.parse_errors, self.build_error, self.runs = [], None, True
        self.made, self.flags, self.profiles, self.contexts, self.streams = 0, [], [], [], []

    def Builder(self, log):  # noqa: N802
        return Builder(self, log)

    def OnnxParser(self, network, log):  # noqa: N802
        return Parser(self, network)

    def Runtime(self, log):  # noqa: N802
        return SimpleNamespace(deserialize_cuda_engine=self._engine)

    def _engine(self, plan):
        try:
            return Engine(self, **json.loads(plan))
        except ValueError:
            return None


class Builder:
    def __init__(self, fake, log):
        self.fake, self.log = fake, log

    def create_network(self, flags):
        self.fake.flags.append(flags)
        return SimpleNamespace(path=None)

    def create_optimization_profile(self):
        shapes = {}
        self.fake.profiles.append(shapes)
        return SimpleNamespace(
            shapes=shapes, set_shape=lambda name, *sizes: shapes.update({name: [list(s) for s in sizes]})
        )

    def create_builder_config(self):
        config = SimpleNamespace(profiles=[])
        config.add_optimization_profile = config.profiles.append
        return config

    def build_serialized_network(self, network, config):
        if self.fake.build_error:
            self.log.log(Severity.WARNING, "not this one")
            self.log.log(Severity.ERROR, self.fake.build_error)
            return None
        self.fake.made += 1
        model = base64.b64encode(onnx.load(network.path).SerializeToString()).decode()
        return memoryview(json.dumps({"model": model, "shapes": config.profiles[0].shapes}).encode())


class Parser:
    def __init__(self, fake, network):
        self.fake, self.network = fake, network

    def parse_from_file(self, path):
        session = onnxruntime.InferenceSession(path)
        self.network.path, self.network.num_inputs = path, len(session.get_inputs())
        self.network.get_input = lambda i: session.get_inputs()[i]
        return not self.fake.parse_errors

    @property
    def num_errors(self):
        return len(self.fake.parse_errors)

    def get_error(self, number):
        return SimpleNamespace(desc=lambda: self.fake.parse_errors[number])


class Engine:
    def __init__(self, fake, model, shapes):
        self.fake, self.shapes = fake, shapes
        self.session = onnxruntime.InferenceSession(base64.b64decode(model))
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.tensors = self.inputs | {o.name: o for o in self.session.get_outputs()}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, number):
        return list(self.tensors)[number]

    def get_tensor_mode(self, name):
        return Mode.INPUT if name in self.inputs else Mode.OUTPUT

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=TYPES[self.tensors[name].type])

    def is_shape_inference_io(self, name):
        return False

    def create_execution_context(self):
        self.fake.contexts.append(Context(self))
        return self.fake.contexts[-1]


class Context:
    def __init__(self, engine):
        self.engine, self.given, self.addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        self.given[name] = tuple(shape)
        least, _, largest = self.engine.shapes[name]
        return all(a <= b <= c for a, b, c in zip(least, shape, largest, strict=True))

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name):
        zeros = {n: np.zeros(shape, NUMPY[TYPES[self.engine.inputs[n].type]]) for n, shape in self.given.items()}
        return list(self.engine.session.run([name], zeros)[0].shape)

    def execute_async_v3(self, stream):
        self.engine.fake.streams.append(stream)
        if not self.engine.fake.runs:
            return False
        inputs = {name: self._at(name, shape).copy() for name, shape in self.given.items()}
        outputs = [name for name in self.engine.tensors if name not in inputs]
        for name, value in zip(outputs, self.engine.session.run(outputs, inputs), strict=True):
            self._at(name, value.shape)[...] = value
        return True

    def _at(self, name, shape):
        """The memory at a tensor's address, as an array."""
        dtype = np.dtype(NUMPY[TYPES[self.engine.tensors[name].type]])
        memory = (ctypes.c_byte * (prod(shape) * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)


class Stream:
    cuda_stream = 77

    def __init__(self, device):
        self.device, self.waited = device, 0

    def synchronize(self):
        self.waited += 1


def install(monkeypatch, cache, version: str = "10.13.0") -> Fake:
    """Makes this a machine with two GPUs and TensorRT. Engines are kept in `cache`."""
    fake = Fake(version)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(tensorrt_engine, "cache_folder", lambda name: cache / name)
    monkeypatch.setattr(machine, "devices", lambda: {"cpu", "cuda"})
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    return fake
