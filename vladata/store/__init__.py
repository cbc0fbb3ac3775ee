"""Episode files and dataset folders."""
