"""Settings of LoRA adapters."""

from __future__ import annotations

from dataclasses import dataclass

from vltp_ros.settings import check, documented, setting


@documented
@dataclass(frozen=True)
class LoraConfig:
    """LoRA adapters on LLaVA's language model; the defaults are the paper's."""

    rank: int = setting(8, "rank of the matrix that an adapter adds to a weight matrix", low=1)
    alpha: float = setting(
        16.0, "numerator of the scale of what an adapter adds, alpha / rank", low=0.0
    )
    dropout: float = setting(
        0.05, "share of an adapter's input that is dropped in training", low=0.0, high=0.99
    )
    targets: tuple[str, ...] = setting(
        ("q_proj", "v_proj"),
        "linear layers that get an adapter",
        choices=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.targets:
            raise ValueError("LoraConfig.targets is empty; it must name at least one linear layer")
