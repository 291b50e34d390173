"""`python -m study_app`: the command line."""

from study_app.cli import main

main()
