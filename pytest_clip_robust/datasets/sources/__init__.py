"""Files, tables and hub data sets as rows of images."""
