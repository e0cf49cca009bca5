"""Images: where they come from (`sources`) and how a fit reads them (`batches`)."""

from orchestrator.data.names import digits, torchvision_set

__all__ = ["digits", "torchvision_set"]
