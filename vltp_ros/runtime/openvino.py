"""Functions of tensors compiled for a CPU by OpenVINO, an optional dependency."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor, nn

from vltp_ros.network.run import Result
from vltp_ros.runtime.graphs import Captured, CaptureError

if TYPE_CHECKING:
    import openvino

MEMORY_SHARE = 0.5
"""Most of the free memory that a function's weights may take once more: compiled code holds a copy
of them, ordered as its kernels read them."""

DTYPES = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "u8": torch.uint8,
    "boolean": torch.bool,
}
"""OpenVINO's names of types."""


def is_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    return find_spec("openvino") is not None


class OpenVinoCompiler:
    """Compiles functions with static shapes for a CPU; a capturer for ``GraphRunner``.

    Whatever a function reads beside its tensors, above all its weights, becomes constant: a
    compiled function must not outlive a change of them.
    """

    def __init__(self, threads: int = 0) -> None:
        """Compile nothing yet.

        Args:
            threads: that compiled functions run on; 0: as many as PyTorch has.

        Raises:
            ImportError: where OpenVINO is not installed.
        """
        import openvino

        self._core = openvino.Core()
        self._threads = threads

    def capture(self, function: Callable[..., Result], tensors: tuple[Tensor, ...]) -> Captured:
        """Trace a function, and compile it for tensors of these shapes and types.

        A function of pixels stays as it is: PyTorch has kernels for bytes, which OpenVINO has not.

        Raises:
            CaptureError: if it cannot be compiled, or its weights do not fit in memory once more.
            Exception: whatever the function raises also when it runs as it is.
        """
        if any(tensor.dtype is torch.uint8 for tensor in tensors):
            return Uncompiled(function)
        try:
            traced = _Traced(function)
            model = _convert(traced, tensors)
            _check_memory(model)
            compiled = self._core.compile_model(model, "CPU", self._properties(tensors))
            dtypes = tuple(DTYPES[port.element_type.to_string()] for port in compiled.outputs)
        except CaptureError:
            raise
        except Exception as error:  # each of the steps has kinds of its own
            function(*tensors)
            raise CaptureError(" ".join(str(error).split())) from error
        shapes = tuple(tuple(port.shape) for port in compiled.outputs)
        request = compiled.create_infer_request()
        return CompiledFunction(request, shapes, dtypes, traced.returns_tuple)

    def reset(self) -> None:
        """Do nothing: compiled functions share no memory."""

    def _properties(self, tensors: tuple[Tensor, ...]) -> dict[str, Any]:
        """Return how to compile: for one call at a time, in the precision of the tensors."""
        reduced = any(tensor.dtype is torch.bfloat16 for tensor in tensors)
        return {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
            "INFERENCE_NUM_THREADS": self._threads or torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # PyTorch's threads run in turns with these
        }


@dataclass(frozen=True)
class CompiledFunction:
    """A function compiled for inputs of certain shapes; neither they nor the outputs are copied."""

    request: openvino.InferRequest
    shapes: tuple[tuple[int, ...], ...]  # of the outputs
    dtypes: tuple[torch.dtype, ...]
    returns_tuple: bool

    def replay(self, tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """Return the function's result for these tensors, in new memory."""
        inputs = [tensor.contiguous() for tensor in tensors]
        results = zip(self.shapes, self.dtypes, strict=True)
        outputs = tuple(torch.empty(shape, dtype=dtype) for shape, dtype in results)
        for index, tensor in enumerate(inputs):
            self.request.set_input_tensor(index, _shared(tensor))
        for index, tensor in enumerate(outputs):
            self.request.set_output_tensor(index, _shared(tensor))
        self.request.infer()
        return outputs if self.returns_tuple else outputs[0]


@dataclass(frozen=True)
class Uncompiled:
    """A function that runs as it is."""

    function: Callable[..., Any]

    def replay(self, tensors: tuple[Tensor, ...]) -> Any:
        """Return the function's result for these tensors."""
        return self.function(*tensors)


class _Traced(nn.Module):
    """A function as a module, which is what can be traced, and whether it returned a tuple."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function
        self.returns_tuple = False

    def forward(self, *tensors: Tensor) -> Any:
        outputs = self._function(*tensors)
        self.returns_tuple = isinstance(outputs, tuple)
        return outputs


def _simplify(graph: torch.Graph) -> None:
    """Drop from a trace what it holds twice, above all constants.

    OpenVINO takes as long to read that as what the network does. PyTorch's passes are private: one
    without them compiles nothing here, and runs everything as it is.
    """
    torch._C._jit_pass_inline(graph)
    torch._C._jit_pass_constant_pooling(graph)  # type: ignore[attr-defined]
    torch._C._jit_pass_cse(graph)
    torch._C._jit_pass_dce(graph)


def _convert(function: _Traced, tensors: tuple[Tensor, ...]) -> openvino.Model:
    """Trace a function, and convert the trace to a model for tensors of these shapes."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that shapes become constant, as they should
        traced = torch.jit.trace(function, tensors, check_trace=False)
    _simplify(traced.graph)
    # What openvino.convert_model does, which also reports to OpenVINO's makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # the model reads from it, but does not keep it
    model = frontend.convert(frontend.load(decoder))
    model.reshape({index: list(tensor.shape) for index, tensor in enumerate(tensors)})
    return model


def _check_memory(model: openvino.Model) -> None:
    """Raise CaptureError if a copy of a model's constants would take too much of the memory."""
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    needed = sum(node.get_byte_size() for node in constants)
    free = psutil.virtual_memory().available
    if needed > MEMORY_SHARE * free:
        raise CaptureError(
            f"a copy of its {needed / 2**20:.0f} MiB of weights would take more than "
            f"{MEMORY_SHARE:.0%} of {free / 2**20:.0f} MiB of free memory"
        )


def _shared(tensor: Tensor) -> openvino.Tensor:
    """Return the same memory as OpenVINO's tensor."""
    import openvino

    if tensor.dtype is torch.bfloat16:  # which NumPy does not have
        halves = tensor.view(torch.float16).numpy()
        return openvino.Tensor(halves, list(tensor.shape), openvino.Type.bf16)
    return openvino.Tensor(tensor.numpy(), shared_memory=True)
