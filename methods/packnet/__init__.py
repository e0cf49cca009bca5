from methods.packnet.packnet import PackNet

__all__ = ["PackNet"]
