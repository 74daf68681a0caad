"""What people call what the commands name in one word."""

from __future__ import annotations

SELECTORS = {
    "keep_all": "all tokens (dense)",
    "prune_decoder": "VLTP",
    "random": "random",
    "adaptive": "VLTP, adaptive",
    "oracle": "ground truth (oracle)",
    "attention": "LLaVA's attention",
}
"""What ranks image tokens."""
