"""Reports of findings: terminal and JSON."""
