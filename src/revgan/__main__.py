"""``python -m revgan`` and ``accelerate launch -m revgan``."""

import sys

from revgan.cli import main

sys.exit(main())
