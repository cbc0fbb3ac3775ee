"""Speed, memory and growth, each beside its peer or its physical limit: `python -m benchmarks`."""
