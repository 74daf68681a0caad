"""The smallest source of batches."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from vltp_ros.training.batches import Batch, Source


class Grey(Source):
    """Batches of one grey image."""

    data = SimpleNamespace(identity="grey")

    def batch(self, step):
        image = torch.full((1, 3, 2, 2), 100 + step, dtype=torch.uint8)
        return Batch(image, [["cut"]], *3 * [torch.zeros(1)])
