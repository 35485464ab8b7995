"""The machine underneath: files, signals, the terminal."""
