"""A sweep held against the store: which trials there are, which are done, and which comes next.

Imports the rooms below and the outcomes of `training`. Promise: planning starts nothing and touches
no GPU; whatever several cells need is run once.
"""
