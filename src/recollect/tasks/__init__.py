"""What a model is asked: configs that sample batches."""
