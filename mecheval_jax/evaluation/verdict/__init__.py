"""By which mechanism a model recalls: what is measured, the rule, and its controls."""
