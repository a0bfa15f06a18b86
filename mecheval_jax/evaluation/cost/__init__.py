"""What a model costs: parameters, operations, memory, time and energy over lengths of context."""
