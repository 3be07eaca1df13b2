"""What `import recollect as rc` gives, and what it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import forked
import recollect as rc

PUBLIC = {
    "adapt",
    "AssociativeRecall",
    "Batch",
    "BestRateSearch",
    "Copy",
    "FixedGrid",
    "Init",
    "LearningRateSearch",
    "MQAR",
    "Metric",
    "MixerSpec",
    "Mixture",
    "ModelConfig",
    "Results",
    "Role",
    "Seeds",
    "Store",
    "Study",
    "Task",
    "Text",
    "TrainConfig",
    "TrialConfig",
    "UserError",
    "Variant",
    "__version__",
    "capacity",
    "cells_frame",
    "check",
    "events",
    "history_frame",
    "metrics_frame",
    "keep_init",
    "load",
    "mixer",
    "models_grid",
    "no_decay",
    "register_metric",
    "register_mixer",
    "register_study",
    "register_task",
    "results",
    "run",
    "task",
    "train",
    "trials_frame",
}


def test_the_exports_are_these():
    assert set(rc.__all__) == PUBLIC
    assert dir(rc) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(rc, name).__doc__ or name == "__version__"


def test_type_checkers_see_the_same_names_in_the_same_modules():
    tree = ast.parse(Path(rc.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen.pop("events") == "recollect"  # a module
    assert seen == {name: f"recollect.{module}" for name, module in rc.MODULES.items()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Mamba"):
        rc.Mamba  # noqa: B018


def test_the_import_alone_loads_nothing_heavy():
    code = "import recollect, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "numpy", "pandas", "matplotlib", "pydantic"} & set(loaded.stdout.split())


def test_training_loads_no_compiler(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\n"
        "import recollect as rc\n"
        "task = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)\n"
        "train = rc.TrainConfig(steps=2, batch_size=2, valid_examples=2, test_examples=2)\n"
        "print(rc.train(rc.ModelConfig(mixer='attention', d_model=8), task, train).status)\n"
        "print(*sys.modules)\n"
    )
    done = forked.run(script, folder=tmp_path)
    status, *loaded = done.stdout.split()
    assert status == "complete"
    assert not {"torch._dynamo", "torch._inductor", "sympy"} & set(loaded)
