"""Sweeps: many runs by Hydra's launchers and sweepers, with one table, which can be stopped and resumed."""
