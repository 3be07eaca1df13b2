"""Where tokens, tokenizers, counts and losses are kept, so that they are made once."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "RECOLLECT_TEXT"
"""Names the folder, in the environment, where nothing else does."""
FOLDER = "recollect-text"


def kept_folder() -> Path:
    """The folder: a setting of the machine, so that it is in no trial's key."""
    return Path(os.environ.get(VARIABLE, FOLDER))
