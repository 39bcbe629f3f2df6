"""Compiles an ONNX file for one GPU, once: the plan is kept, because tuning takes from seconds to many minutes.

A plan is for one GPU and one version of TensorRT, so it is no part of an artifact. It lies in `<cache>/tensorrt`, named
by the hash of all that it depends on (`QUANTBENTO_CACHE` moves the cache).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import uuid
from pathlib import Path
from typing import Any

from quantbento.core.cache import cache_folder
from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes.onnx import external_data
from quantbento.runtimes.tensorrt_profile import Profile

logger = logging.getLogger("quantbento")


def engine(model: Path, profile: Profile, gpu: str) -> Any:
    """An `ICudaEngine` for the current GPU.

    Args:
        model: the ONNX file.
        profile: the sizes to build it for.
        gpu: the GPU's name.

    Raises:
        QuantbentoError: TensorRT cannot read the file, or cannot build an engine of it.
    """
    import tensorrt

    log = _log()
    runtime, plan = tensorrt.Runtime(log), _place(model, profile, gpu)
    found = runtime.deserialize_cuda_engine(plan.read_bytes()) if plan.is_file() else None
    if found is None:
        built = _build(model, profile, log)
        _keep(built, plan)
        found = runtime.deserialize_cuda_engine(built)
    if found is None:
        raise QuantbentoError(f"TensorRT {tensorrt.__version__} cannot load the engine that it built{log.reason()}")
    return found


def _place(model: Path, profile: Profile, gpu: str) -> Path:
    """Where the plan is kept."""
    import tensorrt

    digest = hashlib.sha256(repr((tensorrt.__version__, gpu, sorted(profile.items()))).encode())
    for file in [model, *external_data(model)]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return cache_folder("tensorrt") / f"{digest.hexdigest()[:32]}.plan"


def _build(model: Path, profile: Profile, log: Any) -> bytes:
    import tensorrt

    version = tensorrt.__version__
    builder = tensorrt.Builder(log)
    # Every tensor has the type that the file says. TensorRT 11 knows nothing else, and ignores the flag.
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse_from_file(str(model)):
        told = "; ".join(parser.get_error(i).desc().strip().rstrip(".") for i in range(parser.num_errors))
        raise QuantbentoError(f"TensorRT {version} cannot read the graph: {told or 'it does not say why'}")
    sizes = builder.create_optimization_profile()
    for name in (network.get_input(i).name for i in range(network.num_inputs)):
        sizes.set_shape(name, *profile[name])
    config = builder.create_builder_config()
    config.add_optimization_profile(sizes)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise QuantbentoError(f"TensorRT {version} cannot build an engine of the graph{log.reason()}")
    return bytes(built)


def _keep(plan: bytes, place: Path) -> None:
    """Writes a plan in one step. What cannot be kept is built again the next time."""
    staged = place.with_name(f"{uuid.uuid4().hex}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(plan)
        staged.replace(place)
    except OSError as error:
        logger.warning("the TensorRT engine is built again at the next start: it cannot be kept (%s)", summary(error))
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)


def _log() -> Any:
    """A logger that remembers TensorRT's errors, which its functions do not raise."""
    import tensorrt

    class Log(tensorrt.ILogger):
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (tensorrt.ILogger.Severity.ERROR, tensorrt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            logger.debug("TensorRT: %s", message)

        def reason(self) -> str:
            return f": {self.errors[-1].strip().splitlines()[0].rstrip('.')}" if self.errors else ""

    return Log()
