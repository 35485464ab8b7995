"""Report on a run, a checkpoint or a sweep, or on several: python scripts/report.py PATH... [--output DIR].

It is `makemore report`, from a checkout.
"""

from makemore.cli.report_command import main

if __name__ == "__main__":
    main()
