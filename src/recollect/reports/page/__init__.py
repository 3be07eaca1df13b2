"""The report page: stored studies as one HTML file that needs no network."""
