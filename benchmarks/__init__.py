"""Measures the product beside the reference way on this machine: `python -m benchmarks`. Nothing here is a test."""
