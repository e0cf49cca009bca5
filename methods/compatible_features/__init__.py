from methods.compatible_features.compatible_features import CompatibleFeatures

__all__ = ["CompatibleFeatures"]
