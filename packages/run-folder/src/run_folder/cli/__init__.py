"""Parts of command-line applications: console, errors in one line, devices, pages. Needs `run-folder[cli]`."""
