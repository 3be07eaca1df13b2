"""Tables and figures from stored results; nothing here trains a model."""
