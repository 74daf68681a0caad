"""transformers' LLaVA and its tokenizer, asked for what has several types in their signatures."""

from __future__ import annotations

from transformers import LlavaConfig, PreTrainedConfig, PreTrainedTokenizerBase


def text_config(config: LlavaConfig) -> PreTrainedConfig:
    """Return the sizes of the language model."""
    return _loaded(config.text_config)


def vision_config(config: LlavaConfig) -> PreTrainedConfig:
    """Return the sizes of the vision tower."""
    return _loaded(config.vision_config)


def _loaded(config: dict | PreTrainedConfig | None) -> PreTrainedConfig:
    """Return a part of a configuration; TypeError unless transformers has built it."""
    if not isinstance(config, PreTrainedConfig):
        raise TypeError(f"the configuration is a {type(config).__name__}, not yet built")
    return config


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """Return the number of a token; ValueError if the vocabulary does not have it."""
    number = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(number, int) or number == tokenizer.unk_token_id:
        raise ValueError(f"the tokenizer has no token {token}")
    return number
