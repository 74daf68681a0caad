"""``python -m vltp_ros`` is ``vltp``."""

import sys

from vltp_ros.cli.main import main

sys.exit(main())
