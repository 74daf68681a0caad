"""Whether a loaded model still answers as it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vltp_ros.checkpoints.golden import Golden
from vltp_ros.runtime.settings import InferenceSettings

if TYPE_CHECKING:
    from vltp_ros.runtime.session import Session

MIN_IOU = 0.95
"""Of the golden answer's mask and the one that was recorded. Of the tabletop model 4-bit weights
leave .999 and bfloat16 .993, one reversed weight matrix of an MLP .907, of attention nothing."""


def self_test(session: Session, golden: Golden) -> None:
    """Ask for a golden answer, under the model's own settings, and compare.

    Raises:
        RuntimeError: when it is another one than it was.
    """
    chosen = session.settings
    session.configure(InferenceSettings(precision=chosen.precision, runner=chosen.runner))
    (answer,) = session.segment(golden.image, [golden.task])
    session.configure(chosen)
    common = np.count_nonzero(answer.mask & golden.mask)
    iou = common / max(np.count_nonzero(answer.mask | golden.mask), 1)
    if iou < MIN_IOU:
        raise RuntimeError(
            f"{session.name} on {session.device_name} does not answer as it did when its golden "
            f"answer was recorded: the masks of {golden.task!r} have an IoU of {iou:.2f}, at least "
            f"{MIN_IOU} is expected. Weights, device or installation are not what they were "
            "(vltp check tells more; vltp golden records another answer)"
        )
