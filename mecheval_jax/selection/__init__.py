"""Which architecture for a task: planned to a budget, trained, judged, priced, and advised on."""
