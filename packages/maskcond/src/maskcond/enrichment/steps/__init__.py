"""Steps that are recorded, skipped when nothing has changed, and resumed."""
