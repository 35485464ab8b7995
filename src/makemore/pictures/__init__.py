"""Pictures of a model and of its training, drawn by matplotlib."""
