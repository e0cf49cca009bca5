"""Piggyback (Mallya, Davis, Lazebnik 2018): masks over the weights of a frozen network."""

from methods.piggyback.piggyback import PUBLISHED, Piggyback

__all__ = ["PUBLISHED", "Piggyback"]
