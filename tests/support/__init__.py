"""Helpers of several tests: programs, threads, code at chosen moments, files seen from outside."""

LIMIT = 30.0  # seconds that any step may take; all of them take far less
