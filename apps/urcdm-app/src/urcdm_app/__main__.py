"""`python -m urcdm_app`: the command line."""

from urcdm_app.cli import main

main()
