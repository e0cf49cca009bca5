"""What a researcher writes: grids, sweeps, tasks, methods, and the trials they come to.

Everything here is symbolic and cheap to import: no torch, no images, no store. It imports nothing
of Spolia but `orchestrator.errors`. Promise: one thing that is asked for has exactly one canonical
form, and so one key, on every machine.
"""
