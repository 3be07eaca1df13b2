"""Figures and tables of papers as studies, with their published numbers and claims."""
