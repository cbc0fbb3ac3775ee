"""Reports of findings: terminal, JSON, JUnit XML, and one page for people."""
