"""Evaluation: the features and answers of a model on the data sets of a profile."""
