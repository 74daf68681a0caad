"""Controls: what is taken from a model to see whether its answers depend on it."""

from __future__ import annotations

from typing import Literal

Control = Literal["none", "grey", "swapped", "ranking"]
"""What is taken from a model, whose SAM sees the right image. grey: LLaVA sees grey; swapped: LLaVA
sees the next scene; ranking: the prune decoder ranks by the <SEG> of the scene's next question."""
