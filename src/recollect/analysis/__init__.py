"""Analysis of results: learning rates, training dynamics, capacity, intervals."""
