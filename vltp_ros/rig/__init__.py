"""What stands around the node: simulated cameras, a planner, recordings, measurements."""

import vltp_ros.runtime  # noqa: F401 - before PyTorch is loaded
