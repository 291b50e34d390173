"""The tissue on a slide."""
