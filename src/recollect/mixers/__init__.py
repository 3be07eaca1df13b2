"""Projections and gates around an op, one file per family, and the catalogue."""
