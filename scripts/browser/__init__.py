"""Headless Chromium, and a TensorBoard and a playground to visit with it, for screenshots.py and tests."""
