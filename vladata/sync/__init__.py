"""Synchronization: streams on their own clocks become steps on one."""
