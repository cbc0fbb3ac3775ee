"""Mutated recordings of every source: what comes out must be a recording or one of the library's errors.

    python -m tests.fuzz --inputs 20000 --seed 1 --out fuzz-out

`seeds` writes a small valid recording of each format, `mutate` changes a file of it, `child` runs one input after
another in a process with a memory limit, `run` starts the processes, watches the clock and keeps what fails.
"""
