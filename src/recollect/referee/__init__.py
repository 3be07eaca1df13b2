"""Conformance checks of a mixer with evidence, and measurements of its cost."""
