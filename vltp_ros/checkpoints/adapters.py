"""LoRA adapters on LLaVA's language model, by peft: small matrices added to frozen weights.

A model directory holds one in adapter/, in peft's own format, so that other tools read it as well:
``PeftModel.from_pretrained(llava, DIR / "adapter")``. The weights below may be quantised. Where the
tables of words learnt as well, the whole of them is beside the adapter in its file, as peft has it
with ``save_embedding_layers=True``.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.lora import LoraConfig
from vltp_ros.checkpoints.text_files import check_pattern, check_size
from vltp_ros.paths import pip_command

ADAPTER = "adapter"
"""The folder in a model directory."""

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

ADAPTER_FILE = f"{ADAPTER}/{WEIGHTS_FILE}"
"""What ``model.yaml`` lists for a model that has an adapter."""

PREFIX = "base_model.model."
"""Start of the names in the file: those of peft's wrapper, which is not used here."""

WORDS = "words_learnt"
"""Attribute of a LLaVA whose tables of words are stored with the adapter."""


def add_adapter(llava: LlavaForConditionalGeneration, config: LoraConfig) -> None:
    """Put a new adapter, which changes nothing yet, into the language model's layers.

    The modules stay what they are, so LLaVA runs as before. All that was trainable no longer is.

    Raises:
        ModelError: if peft is not installed.
    """
    targets = "|".join(config.targets)
    lora = _peft().LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        # The vision tower has layers of the same names.
        target_modules=rf"model\.language_model\.layers\.\d+\.\w+\.({targets})",
    )
    _inject(llava, lora)


def adapter_parameters(llava: LlavaForConditionalGeneration) -> list[nn.Parameter]:
    """Return the adapter's parameters; none where there is no adapter."""
    return [p for name, p in llava.named_parameters() if ".lora_" in name]


def word_parameters(llava: LlavaForConditionalGeneration) -> dict[str, nn.Parameter]:
    """Return the tables of words by name: embeddings and head, which may be one."""
    tables = (llava.get_input_embeddings().weight, llava.get_output_embeddings().weight)
    named = llava.named_parameters()
    return {name: parameter for name, parameter in named if any(parameter is t for t in tables)}


def train_words(llava: LlavaForConditionalGeneration, head: bool) -> None:
    """Let embeddings learn, in float32, and be stored with the adapter; the head, too, if asked."""
    setattr(llava, WORDS, True)
    for parameter in word_parameters(llava).values():
        parameter.data = parameter.data.float()
        learns = head or parameter is llava.get_input_embeddings().weight
        parameter.requires_grad_(learns)


def has_adapter(llava: LlavaForConditionalGeneration) -> bool:
    """Tell whether LLaVA has an adapter that is not merged."""
    return bool(adapter_parameters(llava))


def write_adapter(llava: LlavaForConditionalGeneration, directory: Path) -> None:
    """Write the adapter, in float32, to a new directory.

    Raises:
        ModelError: if a file cannot be written.
    """
    directory.mkdir()
    tensors = {name: tensor.float().contiguous().cpu() for name, tensor in _tensors(llava).items()}
    try:
        llava.peft_config["default"].save_pretrained(directory)
        save_file(tensors, directory / WEIGHTS_FILE, {"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{directory.name}/ cannot be written: {error}") from error


def load_adapter(llava: LlavaForConditionalGeneration, directory: Path) -> None:
    """Put a stored adapter into LLaVA.

    Raises:
        ModelError: if peft is not installed, or a file is missing, damaged or does not fit.
    """
    peft = _peft()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (directory / name).is_file():  # peft would ask the hub for it
            raise ModelError(f"{directory / name} is missing")
    check_size(directory / CONFIG_FILE)
    try:
        config = peft.PeftConfig.from_pretrained(directory)
        if not isinstance(config, peft.LoraConfig):
            raise ValueError(f"its peft_type is {config.peft_type}; allowed: LORA")
        _check_patterns(config)
        _inject(llava, config)
        stored = load_file(directory / WEIGHTS_FILE)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{directory} cannot be loaded: {reason}") from error
    if any(f"{PREFIX}{name}" in stored for name in word_parameters(llava)):
        setattr(llava, WORDS, True)
    _check_fit(stored, _tensors(llava), directory / WEIGHTS_FILE)
    peft.set_peft_model_state_dict(llava, stored)


def merge_adapter(llava: LlavaForConditionalGeneration) -> None:
    """Add the adapter to LLaVA's weights, which must not be quantised, and remove it.

    Raises:
        ValueError: if the adapter holds values that are not finite.
    """
    layer = importlib.import_module("peft.tuners.tuners_utils").BaseTunerLayer
    for name, module in list(llava.named_modules()):
        if isinstance(module, layer):
            module.merge(safe_merge=True)
            llava.set_submodule(name, module.get_base_layer())
    del llava.peft_config


def _peft() -> ModuleType:
    """Import peft, which most models do not need; ModelError if it is not installed."""
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        raise ModelError(f"LoRA adapters need peft: {pip_command('lora')}") from error


def _inject(llava: LlavaForConditionalGeneration, config: object) -> None:
    """Put an adapter into LLaVA, from peft's configuration of it, with float32 parameters."""
    _peft().inject_adapter_in_model(config, llava)
    for parameter in adapter_parameters(llava):  # peft makes them in the type of the layer below
        parameter.data = parameter.data.float()


def _check_patterns(config: object) -> None:
    """Raise ValueError for a configuration whose regular expressions can take for ever."""
    for name in ("target_modules", "exclude_modules", "layers_pattern"):
        value = getattr(config, name, None)
        for pattern in [value] if isinstance(value, str) else value or ():
            check_pattern(pattern, name)
    for name in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(config, name, None) or ():
            check_pattern(pattern, name)


def _tensors(llava: LlavaForConditionalGeneration) -> dict[str, Tensor]:
    """Return the adapter's tensors by their names in the file."""
    state = _peft().get_peft_model_state_dict(llava, save_embedding_layers=False)
    if getattr(llava, WORDS, False):
        state |= {name: table.detach() for name, table in word_parameters(llava).items()}
    return {f"{PREFIX}{name}": tensor for name, tensor in state.items()}


def _check_fit(stored: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    """Raise ModelError naming the first tensor that is missing, unknown or of another shape."""
    for name in sorted(stored.keys() | expected.keys()):
        shape, expected_shape = (
            list(tensors[name].shape) if name in tensors else "missing"
            for tensors in (stored, expected)
        )
        if shape != expected_shape:
            raise ModelError(
                f"{path} does not fit {CONFIG_FILE} beside it and LLaVA: "
                f"{name} is {shape}, expected {expected_shape}"
            )
