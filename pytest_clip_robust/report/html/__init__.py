"""The page of a run, index.html: one file without network, rendered from the content of report.json alone."""
