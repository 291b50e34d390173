"""`python -m enrich_app`: the command line."""

from enrich_app.cli import main

main()
