"""Panels of published accuracies, as CSV files that ship with the package; SOURCE.md has their origin and licences."""
