"""Devices and processes: arithmetic, memory that host and device share, batch sizes, pacing."""
