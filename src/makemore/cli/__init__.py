"""How commands start, what is checked before a run, and how errors end."""
