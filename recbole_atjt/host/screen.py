"""What belongs on a screen and not in a file."""

from __future__ import annotations

import sys
from typing import Any


def shows_progress(config: Any) -> bool:
    """Tell whether progress bars are wanted and somebody sees them: stderr is a terminal."""
    return bool(config["show_progress"]) and sys.stderr.isatty()
