"""The lessons' figures beside ours, as docs/lessons.md: python scripts/lessons.py.

experiments.py runs the lessons' experiments and has the lessons' figures; comparison.py compares and writes the page.
"""
