"""Measurements of trained models: accuracy, interventions, verdicts, representations and costs."""
