"""Sources of images: folders, CSV tables, Parquet, webdataset and hub repositories, read as rows."""
