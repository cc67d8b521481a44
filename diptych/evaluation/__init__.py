"""Measuring models: benchmarks, judges and reports."""
