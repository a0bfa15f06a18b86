"""The verdict on a model's mechanism of recall: its measurement, its rule, and its controls."""
