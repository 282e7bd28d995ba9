"""The Ray engine: models encode in worker processes of a Ray cluster, and this process stores the features."""
