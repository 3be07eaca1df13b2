"""Trackers write to a folder of the test session and reach nothing outside this machine."""

import os
import tempfile

FOLDER = tempfile.mkdtemp(prefix="recollect-tracking-")
os.environ.update(  # before their import, when they read it
    WANDB_MODE="offline",
    WANDB_DIR=FOLDER,
    WANDB_CONFIG_DIR=FOLDER,
    WANDB_CACHE_DIR=FOLDER,
    TRACKIO_DIR=f"{FOLDER}/trackio",
    HF_HUB_OFFLINE="1",
)
for name in ("WANDB_PROJECT", "WANDB_API_KEY", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
    os.environ.pop(name, None)
