"""The study's 30 findings, each a small function from results to the claims it consists of."""
