"""Other ways to run segment_anything's image encoder on a CPU, where they are installed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor

from vltp_ros.runtime import openvino

ONNX_RUNTIME = ("onnx", "onnxruntime", "onnxscript")
"""What it takes to export the encoder and to run it."""


def rival_encoders(encoder: ImageEncoderViT, images: Tensor) -> dict[str, Callable[[], object]]:
    """Return the encoder of normalised images [B, 3, S, S] as each installed rival runs it.

    Both take as many threads as PyTorch has.
    """
    rivals: dict[str, Callable[[], object]] = {}
    if openvino.is_installed():
        compiled = openvino.OpenVinoCompiler().capture(encoder, (images,))
        rivals["official by OpenVINO"] = lambda: compiled.replay((images,))
    if all(map(find_spec, ONNX_RUNTIME)):
        rivals["official by ONNX Runtime"] = _by_onnx_runtime(encoder, images)
    return rivals


def _by_onnx_runtime(encoder: ImageEncoderViT, images: Tensor) -> Callable[[], object]:
    """Return a call of the encoder by ONNX Runtime."""
    from onnxruntime import InferenceSession, SessionOptions

    for exporter in ("onnxscript", "onnx_ir"):
        logging.getLogger(exporter).setLevel(logging.WARNING)
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own future
        path = Path(scratch) / "encoder.onnx"
        torch.onnx.export(encoder, (images,), path, dynamo=True, verbose=False)
        session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images.numpy()})
