"""A simulated arm, its scripted teleoperator and the recorder that logs both."""
