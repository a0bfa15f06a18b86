"""Costs of a model: parameters, operations, memory, time and energy over lengths of context."""
