from methods.nettailor.nettailor import NetTailor

__all__ = ["NetTailor"]
