"""The command line, as its console script starts it: `python -m benchmarks.command ingest …`."""

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    sys.argv[0] = "vladata"
    sys.exit(next(iter(entry_points(group="console_scripts", name="vladata"))).load()())
