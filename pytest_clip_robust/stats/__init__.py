"""Statistics: intervals, resampling, clustered samples, ROC analysis and paired tests."""
