"""Spolia's core: grids, plans, the store, the fit engine, executors and tracking. It knows no
method by name.
"""
