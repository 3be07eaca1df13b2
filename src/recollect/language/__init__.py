"""Recall on real text: corpora, tokenizers, AR hits, token losses, training and probing of
models."""
