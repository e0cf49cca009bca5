"""What a sweep found: tables, means with intervals, verdicts on claims, figures, the report.

Imports the rooms below, but not `executors`. Promise: it reads the store and trains nothing, so
that everything it shows can be made again at any time.
"""
