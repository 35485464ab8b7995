"""How a network is trained: the LightningModules, steps, optimisers, schedules, loggers."""
