"""The command line: thin commands over all of it, which import when they run what is heavy."""
