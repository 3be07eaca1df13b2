"""The backbone around every mixer: embedding, blocks, head and initialisation."""
