"""Tiny models with random weights, in folders."""

from pathlib import Path

import torch
from small_texts import tokenizer
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    RwkvConfig,
    RwkvForCausalLM,
)

from recollect.language.model_folder import save_model
from recollect.language.tokenizer import Tokenizer
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel

ENDS = {"bos_token_id": 0, "eos_token_id": 0}


def make(kind: str, vocab_size: int, max_len: int) -> PreTrainedModel:
    width = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": vocab_size}
    if kind == "mamba":
        return MambaForCausalLM(MambaConfig(state_size=4, **width, **ENDS))
    if kind == "rwkv":
        return RwkvForCausalLM(RwkvConfig(context_length=max_len, **width, **ENDS))
    if kind == "bert":
        heads = {"num_attention_heads": 2, "intermediate_size": 16}
        return BertLMHeadModel(BertConfig(max_position_embeddings=max_len, **width, **heads))
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=max_len, n_embd=16, n_layer=2, n_head=2, **ENDS
    )
    return GPT2LMHeadModel(config)


@torch.no_grad()
def perturb(model: torch.nn.Module) -> None:
    """Away from a model that gives all tokens the same probability."""
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))


def theirs(
    folder: Path,
    kind: str = "gpt2",
    *,
    seed: int = 0,
    max_len: int = 64,
    cutter: Tokenizer | None = None,
    vocab_size: int | None = None,
) -> Path:
    """A model of `transformers` whose predictions differ from token to token."""
    cutter = cutter or tokenizer()
    torch.manual_seed(seed)
    model = make(kind, vocab_size or cutter.vocab_size, max_len)
    perturb(model)
    model.save_pretrained(folder)
    cutter.save(folder / "tokenizer.json")
    return folder


def ours(folder: Path, *, seed: int = 0, max_len: int = 64) -> tuple[Path, LanguageModel]:
    """A hybrid of ours."""
    torch.manual_seed(seed)
    config = ModelConfig(mixer=["attention", "base-conv"], d_model=16)
    model = LanguageModel(
        config, vocab_size=tokenizer().vocab_size, max_len=max_len, seed=seed
    ).eval()
    perturb(model)
    save_model(model, tokenizer(), folder)
    return folder, model
