"""Reports of a run: terminal tables, report.json and recorded baselines."""
