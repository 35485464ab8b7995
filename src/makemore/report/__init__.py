"""Reports: runs, checkpoints and sweeps as one HTML file that needs nothing outside it."""
