"""Builder of the showroom: the data set and the small models that ship in the package. Not part of the wheel."""
