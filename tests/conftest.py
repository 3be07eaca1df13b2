"""Shapes and types are checked while the tests run; nothing in a test is left to chance."""

import os
import signal

from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"  # before its import: nothing is fetched while the tests run

os.environ["TRITON_INTERPRET"] = "1"  # before its import: kernels run without a GPU

# before the first import of the package, or the modules are loaded without their checks
install_import_hook(
    ["recollect.ops", "recollect.mixers", "recollect.models", "recollect.language"],
    "beartype.beartype",
)

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

# a shell that starts the tests in the background has them, and what they start, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("recollect", deadline=None, derandomize=True)
settings.load_profile("recollect")

torch.set_num_threads(1)  # tests run side by side


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
