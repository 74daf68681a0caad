"""A stage and its copies in the other processes of a launcher, which learn as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vltp_ros.processes import Process
from vltp_ros.training.batches import Batch
from vltp_ros.training.run_directory import learning
from vltp_ros.training.run_options import refuse_other_options


class Replica:
    """The copy of a stage that this process has; all copies get the same gradients."""

    def __init__(self, stage: nn.Module, process: Process) -> None:
        """Take a stage, which begins with what learns in the first process.

        Args:
            stage: on the device where it is trained; what is frozen is the same everywhere.
            process: this one; others wait until all are here.
        """
        self.stage, self.process = stage, process
        self.device = next(iter(learning(stage).values())).device
        self._parallel: DistributedDataParallel | None = None
        if process.count > 1:
            for tensor in (*learning(stage).values(), *stage.buffers()):
                torch.distributed.broadcast(tensor.detach(), 0)
            # Which weights a loss reaches varies: with the stage, and with what a batch shows.
            self._parallel = DistributedDataParallel(
                stage, find_unused_parameters=True, init_sync=False
            )

    def learn(
        self,
        parts: Sequence[Batch],
        step: int,
        seed: int,
        autocast: Callable[[], AbstractContextManager],
    ) -> dict[str, float]:
        """Compute the gradients of a step, and return the losses; both are means over all parts.

        Args:
            parts: of this process, as many as the others have.
            step: their number.
            seed: of the run.
            autocast: makes the context in which losses are computed.
        """
        self.stage.zero_grad(set_to_none=True)
        sums: defaultdict[str, list[Tensor]] = defaultdict(list)
        for number, part in enumerate(parts):
            with self._exchange(number + 1 == len(parts)):
                _seed(seed, step, self.process.rank * len(parts) + number)
                with autocast():
                    losses = (self._parallel or self.stage)(part, step)
                (losses["loss"] / len(parts)).backward()
            for name, value in losses.items():
                sums[name].append(value.detach().float())
        means = torch.stack([torch.stack(values).mean() for values in sums.values()])
        return dict(zip(sums, self._mean(means).tolist(), strict=True))

    def _exchange(self, wanted: bool) -> AbstractContextManager:
        """Return the context of a backward pass, after which gradients are exchanged or not."""
        if self._parallel is None or wanted:
            return nullcontext()
        return self._parallel.no_sync()

    def _mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        if self._parallel is not None:
            torch.distributed.all_reduce(values)
        return values / self.process.count


def _seed(seed: int, step: int, part: int) -> None:
    """Let what a part of a step draws, e.g. for dropout, depend on nothing else.

    So a run can resume, and processes draw what one alone does, whose parts are as large.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, part]).generate_state(1)[0]))


def refuse_other_starts(process: Process, options: Mapping[str, Any], step: int, run: Path) -> None:
    """Raise ValueError in a process that begins otherwise than the first one.

    Args:
        process: this one; others wait until all are here.
        options: option -> value of what the result depends on.
        step: that it goes on from.
        run: directory of the run, which all machines must have in common to go on.
    """
    if process.count == 1:
        return
    from accelerate.utils import broadcast_object_list  # not before: its import takes a second

    first: list[Any] = [dict(options), step]
    broadcast_object_list(first)
    refuse_other_options(options, first[0], "the first process")
    if first[1] != step:
        raise ValueError(
            f"{run} has a checkpoint of step {step} in process {process.rank}, and of step "
            f"{first[1]} in the first one; all machines need the same directory"
        )
