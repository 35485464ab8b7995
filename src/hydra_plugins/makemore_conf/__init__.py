"""Hydra's way to the configs of a user's own: those in conf/ of the working directory."""
