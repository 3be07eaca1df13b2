"""Many trials: grids of cells, learning-rate search, seeds, executors, the store."""
