"""The speed of the project against the lessons' own loops, in one table: python scripts/benchmark.py.

measure.py times pairs and computes ratios; baselines.py and stock.py are the baselines; runs.py, commands.py and
big_file.py measure our side; cases.py and *_cases.py define the rows, setting.py their inputs, report.py the table.
"""
