"""The commands."""

import vltp_ros.runtime  # noqa: F401 - before PyTorch is loaded
