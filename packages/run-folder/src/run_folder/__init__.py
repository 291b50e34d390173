"""Runs that own their folders: locks, records, whole files, tables, errors in one line."""
