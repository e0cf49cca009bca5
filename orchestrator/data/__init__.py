"""Images: where they come from (`sources`) and how a fit reads them (`batches`)."""

from orchestrator.spec.datasets import digits, image_folder, parquet, pasted, torchvision_set

__all__ = ["digits", "image_folder", "parquet", "pasted", "torchvision_set"]
