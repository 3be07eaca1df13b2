"""Trackers of experiments, told of a running study by its events."""
