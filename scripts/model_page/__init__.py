"""The page docs/models.md: which model to take. scripts/models.py trains the models and writes it."""
