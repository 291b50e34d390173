"""Runs that own their folders: locks, records, whole files, tables from anywhere, errors in one line.

No dependency but Python's own library, so that every package can stand on it.
"""

from run_folder.contents import content_digest
from run_folder.errors import DISK_FULL, first_line, is_disk_full, user_message
from run_folder.files import file_sha256, is_partial, whole_file
from run_folder.folder import RunFolder, RunFolderError, differences
from run_folder.locks import FolderLock, LockedError
from run_folder.tables import CsvRow, CsvTable, TableError, plain_name, read_table
from run_folder.walk import Obstacle, Walk

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
    "Walk",
    "content_digest",
    "differences",
    "file_sha256",
    "first_line",
    "is_disk_full",
    "is_partial",
    "plain_name",
    "read_table",
    "user_message",
    "whole_file",
]
