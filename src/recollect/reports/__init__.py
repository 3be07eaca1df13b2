"""Tables and figures from stored results; nothing here trains, and none needs a model."""
