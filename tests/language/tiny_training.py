"""A training of a language model that takes a moment."""

import json
from pathlib import Path

from small_texts import texts

from recollect.language.presets import Preset, preset_trial
from recollect.language.validation import Validated
from recollect.models.config import ModelConfig
from recollect.training.config import TrialConfig

STEPS, EVERY = 12, 3
MODEL = ModelConfig(mixer=["attention", "base-conv"], d_model=8, mlp="gelu")


def write_text(folder: Path) -> Path:
    path = folder / "story.jsonl"
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in texts(120)))
    return path


def trial(text: str | Path, *, end_of_text: bool = True, **changes) -> TrialConfig:
    """Steps of 8 windows of 16 tokens."""
    preset = Preset(
        d_model=8,
        n_layers=2,
        vocab_size=270,
        context=16,
        batch_size=8,
        tokens=STEPS * 8 * 16,
        learning_rate=1e-2,
        valid_examples=10,
    )
    config = preset_trial(preset, MODEL, text=str(text), end_of_text=end_of_text, eval_every=EVERY)
    return config.replace(train=config.train.replace(**{"test_examples": 20, **changes}))


def losses(log: list[Validated]) -> list[tuple]:
    """What must not depend on how often a training was interrupted."""
    return [
        (
            m.step,
            m.tokens,
            m.learning_rate,
            m.train_loss,
            m.valid_loss,
            m.valid_accuracy,
            m.hit_loss,
        )
        for m in log
    ]
