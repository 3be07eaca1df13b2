"""Each figure and table of the papers as a study."""
