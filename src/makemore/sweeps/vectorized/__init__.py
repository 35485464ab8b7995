"""The vectorised launcher: many small runs trained at once in one process, as the members of a group."""
