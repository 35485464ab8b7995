"""Reports on runs, checkpoints and sweeps: one HTML file that loads nothing from elsewhere."""
