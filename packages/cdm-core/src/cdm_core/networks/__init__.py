"""Networks of stages: built from their configurations, filled with weights, widened."""
