"""Handing a sweep in at the head of a cluster, from a machine that is no part of it.

`packing.py` collects the sweep file and what it uses of its author's, `places.py` says where things
lie there, `head.py` speaks to the head (with `executors/ray/` the only place that imports Ray),
`following.py` shows what the job prints, and `arrival.py` runs on the head, before the sweep does.

Imports the rooms below; the command line is a thin skin over `submit.py`. Promise: what cannot work
there is told here, in seconds; a job needs nobody who follows it.
"""
