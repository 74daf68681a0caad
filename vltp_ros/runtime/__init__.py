"""Loading, running and timing a model. Import this package before PyTorch."""

import os

# Before PyTorch is loaded. The model shares its cores with camera and middleware, and OpenMP's
# threads spin while they wait for each other: when one of them has lost its core to another
# process, the rest burn theirs. On two cores beside one busy process the tabletop model took
# 4.6 s for an image; with threads that sleep, 0.16 s.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
