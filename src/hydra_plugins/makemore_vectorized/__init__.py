"""Hydra's way to the vectorised launcher: `hydra/launcher=vectorized`."""
