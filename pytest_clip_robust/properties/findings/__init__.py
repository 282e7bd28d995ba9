"""Findings of the study as tests over the table of a panel: a claim, a statistic with its interval, and a status."""
