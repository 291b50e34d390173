"""The command line of evaluation: figures of generated images and slides, and a report of them."""
