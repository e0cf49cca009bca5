"""Images: read once a machine, decoded, mapped into memory, and cut into batches on the device.

Imports `spec` and `store`. Promise: the same task gives the same images in the same order wherever
it is read, and what has changed since planning is refused.
"""
