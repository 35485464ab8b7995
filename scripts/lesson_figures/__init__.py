"""The lessons' figures beside ours, as docs/lessons.md: python scripts/lessons.py.

experiments.py runs the experiments of L0 to L4 and has their figures, lectures.py those of the later lectures;
comparison.py compares them in tables; guide.py has the sections of the page.
"""
