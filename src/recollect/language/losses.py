"""Losses of a model on each token of a text, cached on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from recollect.config import digest
from recollect.errors import UserError, in_a_line
from recollect.language.arrays import ArrayFolder, ArrayWriter, made_once
from recollect.language.pretrained import Pretrained
from recollect.language.progress import OnCount
from recollect.language.shards import Shard, Shards
from recollect.language.windows import Cuts, Windows, predicted
from recollect.models.look_ahead import Logits

LOGITS_AT_ONCE = 2**26
"""Most logits computed at a time (256 MiB, and a copy), but at least those of one window."""


class TokenLosses:
    """Losses on a text by shard, in the order of its predicted tokens.

    Args:
        made: the folder (`measure_losses`).
    """

    def __init__(self, made: ArrayFolder) -> None:
        self._made = made

    def __getitem__(self, shard: int) -> Float32[np.ndarray, " P"]:
        """Negative log-likelihood of each predicted token, in nats.

        Raises:
            UserError: if the file is damaged.
        """
        return self._made[f"{shard:05}.losses"]


def measure_losses(
    model: Pretrained,
    shards: Shards,
    windows: Windows,
    folder: Path,
    *,
    device: torch.device,
    on_progress: OnCount = lambda *_: None,
) -> TokenLosses:
    """Measure the losses of a model on a text once; an interrupted pass resumes at the last shard.

    Args:
        model: a model with the tokenizer of the text.
        shards: the text.
        windows: the windows that the model reads.
        folder: cache of losses; each combination of model, text, windows and tokens before a window
            has its own name in it.
        device: device of the model.
        on_progress: called with the numbers of predicted and of all tokens.

    Raises:
        UserError: if the model cannot be loaded, fails on windows of this length, or gives NaN.
    """
    read = {**windows.model_dump(), "begins_with": list(model.template.before)}
    key = digest([model.digest, shards.digest, read])

    def make(writer: ArrayWriter) -> None:
        reads = _telling(model.name, model.load(device))
        done = 0

        def tick(predicted_now: int) -> None:
            nonlocal done
            done += predicted_now
            on_progress(done, shards.tokens - shards.documents)

        for number, shard in enumerate(shards):
            name = f"{number:05}.losses"
            if name in writer:
                tick(len(shard.tokens) - len(shard.ends))
                continue
            losses = score(reads, shard, windows, model.vocab_size, device, tick)
            if np.isnan(losses).any():
                raise UserError(f"the model {model.name} gives NaN as logits")
            writer.write(name, losses)
            writer.about = {"model": model.digest, "text": shards.digest, **read}
            writer.commit()

    return TokenLosses(made_once(folder / f"losses-{key}", make))


def _telling(name: str, logits: Logits) -> Logits:
    """Wrap a model so that its errors name the length of the windows."""

    def read(inputs: Int64[Tensor, "batch L"]) -> Float[Tensor, "batch L vocab"]:
        try:
            return logits(inputs)
        except UserError:
            raise
        except Exception as error:  # errors of models have no common base
            rows, length = inputs.shape
            raise UserError(
                f"context={length}: the model {name} fails on {rows} windows of this length"
                f" ({in_a_line(error)}); choose a smaller context"
            ) from error

    return read


@torch.no_grad()
def score(
    logits: Logits,
    shard: Shard,
    windows: Windows,
    vocab_size: int,
    device: torch.device,
    tick: Callable[[int], None],
) -> Float32[np.ndarray, " P"]:
    """Losses on a shard, a batch of windows at a time; `tick` gets the number of tokens of each."""
    losses = np.full(len(shard.tokens), np.nan, np.float32)
    for batch in _batches(windows.cut(shard.ends), vocab_size):
        places, values = _score_batch(logits, shard, batch, device)
        losses[places] = values
        tick(len(places))
    return losses[predicted(shard.ends)]


def _batches(cuts: Cuts, vocab_size: int) -> Iterator[Cuts]:
    """Batches of windows of similar length, the longest first."""
    lengths = cuts.last - cuts.first
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = max(1, LOGITS_AT_ONCE // (longest * vocab_size))
        yield Cuts(*(column[order[start : start + rows]] for column in cuts))
        start += rows


def _score_batch(
    logits: Logits, shard: Shard, cuts: Cuts, device: torch.device
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Places of the tokens that these windows predict, and the losses on them."""
    first, scored, last = (column[:, None] for column in cuts)
    targets = first + 1 + np.arange(int((last - first).max()))
    wanted = (targets >= scored) & (targets <= last)
    targets = targets.clip(max=last)  # padding comes after all tokens that count

    def tokens_at(places: Int64[np.ndarray, "W L"]) -> Int64[Tensor, "W L"]:
        return torch.from_numpy(shard.tokens[places].astype(np.int64)).to(device)

    out = logits(tokens_at(targets - 1))
    loss = F.cross_entropy(
        out.flatten(0, 1).float(), tokens_at(targets).flatten(), reduction="none"
    )
    return targets[wanted], loss.view(targets.shape).cpu().numpy()[wanted]
