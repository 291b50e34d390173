"""`python -m eval_app`: the command line."""

from eval_app.cli import main

main()
