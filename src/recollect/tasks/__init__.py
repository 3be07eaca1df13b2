"""Tasks: configs that sample batches of examples."""
