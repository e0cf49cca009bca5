"""One object over all rooms below: a sweep and where its things lie, to be planned, run, looked at.

Imports the rooms below; the command line is a thin skin over it, and notebooks use it as it is.
Promise: what only reads begins no store and needs no right to write; importing it loads neither
torch nor anything else that is slow.
"""
