"""One trial: examples, optimiser, schedule, metrics, early stop."""
