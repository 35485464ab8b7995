"""Sweeps: many runs by Hydra's launchers and sweepers, which can be read, survive, and go on."""
