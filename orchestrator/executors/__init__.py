"""Where trials run: one after another in this process, or as one Ray Tune experiment.

Imports the rooms below; the folder `ray/` is the only place in Spolia that imports Ray. Promise: an
executor drains a queue and tells a listener; what is tried again, and when a run ends, the queue
decides.
"""
