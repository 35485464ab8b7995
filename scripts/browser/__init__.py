"""Headless Chromium and a TensorBoard to visit with it, for screenshots.py and the tests of reports."""
