"""What happens on a worker: `execute(trial, store)` calls `method.train(run)` and commits what it
left.

Imports `spec`, `store`, `data` and `parts`; needs torch, and neither Ray nor MLflow. Promise: a
trial that was killed anywhere and started again ends with the bits of one that was not.
"""
