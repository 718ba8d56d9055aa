# SPDX-License-Identifier: Apache-2.0
"""``python -m rillet``."""

import sys

from rillet.cli import main

sys.exit(main())
