"""What surrounds every mixer alike: embedding, blocks, head, layer patterns."""
