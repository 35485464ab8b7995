"""Commands: how they start, what is checked before a run, and how errors end them."""
