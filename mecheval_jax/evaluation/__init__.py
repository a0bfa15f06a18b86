"""From activations and answers to evidence."""
