from methods.nettailor.nettailor import AS_WRITTEN, PUBLISHED, NetTailor

__all__ = ["AS_WRITTEN", "PUBLISHED", "NetTailor"]
