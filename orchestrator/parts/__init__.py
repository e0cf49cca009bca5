"""Trained pieces: networks cut at split points, components that can be rebuilt, results that hold
them, and the matrices that say how well they fit together.

Imports `spec`, `store` and `data`. Promise: a component is rebuilt from its class, its keyword
arguments and its weights, without pickle, bit for bit.
"""
