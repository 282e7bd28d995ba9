"""The feature store and the file format of its shards."""
