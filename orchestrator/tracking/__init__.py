"""MLflow, brought level with the store: the only folder that imports MLflow.

Imports the rooms below, but not `executors`. Promise: it only writes; it can be away or be deleted
without harm to a run, and is rebuilt from the store.
"""
