"""The whole network: LLaVA embeds the task, the pruned encoder the image, SAM draws the mask."""

from __future__ import annotations

from vltp_ros.network.config import ModelConfig
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.sam import PrunedSam


class Vltp(PrunedSam):
    """SAM that prunes, and the LLaVA whose <SEG> embeddings it draws."""

    def __init__(self, config: ModelConfig, reasoner: Reasoner, pruned_half: bool = True) -> None:
        """Make SAM around a reasoner.

        Args:
            config: sizes; SAM's weights are random.
            reasoner: used, not copied.
            pruned_half: with prune decoder and ``pruned_mask_decoder``.
        """
        super().__init__(config, pruned_half)
        self.reasoner = reasoner
