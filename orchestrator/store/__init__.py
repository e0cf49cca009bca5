"""What is true: results by key and blobs by hash, in a folder or an object store.

Imports `spec`. Promise: what is read was written whole and is verified; a result is published in
one step, the first wins, and nothing that is committed changes. Everything else (tables, reports,
MLflow) can be rebuilt from here.
"""
