"""A training run: assembled from its config, checked, trained, saved, resumed."""
