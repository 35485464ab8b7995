"""How long the work takes beside the lessons' own loops, in one table: python scripts/benchmark.py.

measure.py has the arithmetic, baselines.py and stock.py what we are compared with; runs.py, commands.py and
big_file.py measure our side; cases.py has the rows, setting.py what they are measured on, report.py the table.
"""
