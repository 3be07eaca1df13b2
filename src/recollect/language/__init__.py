"""Recall on real text: corpora, tokens, AR hits, token losses, and what a gap is made of."""
