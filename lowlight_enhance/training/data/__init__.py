"""Training data: manifests, pictures, raw files and batches."""
