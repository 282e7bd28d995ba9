"""Builds the showroom: the data set and the small models that ship inside the package. Not part of the wheel."""
