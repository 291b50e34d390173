"""Run folders with locks and records, whole files, CSV tables of any program, errors in one line.

Depends on Python's standard library alone, so that every package can use it.
"""

from run_folder.contents import content_digest
from run_folder.environment import environment
from run_folder.errors import DISK_FULL, UsageError, first_line, is_disk_full, user_message
from run_folder.existing import refuse_existing
from run_folder.files import file_sha256, is_partial, whole_file
from run_folder.folder import RunFolder, RunFolderError, differences
from run_folder.lazy import lazy_names
from run_folder.locks import FolderLock, LockedError
from run_folder.tables import CsvRow, CsvTable, TableError, plain_name, read_table
from run_folder.walk import Obstacle, Walk, file_key

__all__ = [
    "DISK_FULL",
    "CsvRow",
    "CsvTable",
    "FolderLock",
    "LockedError",
    "Obstacle",
    "RunFolder",
    "RunFolderError",
    "TableError",
    "UsageError",
    "Walk",
    "content_digest",
    "differences",
    "environment",
    "file_key",
    "file_sha256",
    "first_line",
    "is_disk_full",
    "is_partial",
    "lazy_names",
    "plain_name",
    "read_table",
    "refuse_existing",
    "user_message",
    "whole_file",
]
