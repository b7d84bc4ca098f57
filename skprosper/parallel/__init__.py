"""Rows spread over threads, processes or a cluster: chunks, dask blocks, workers."""
