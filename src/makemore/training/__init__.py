"""The training of a network: LightningModules, steps, optimisers, schedules, loggers."""
