"""All findings, in the order of their numbers."""

from mecheval_jax.study.findings import others, recall, treecall

FINDINGS = (*recall.FINDINGS, *treecall.FINDINGS, *others.FINDINGS)
