from methods.network_transplanting.network_transplanting import NetworkTransplanting

__all__ = ["NetworkTransplanting"]
