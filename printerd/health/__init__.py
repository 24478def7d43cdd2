"""Whether all is well: one table of checks, asked by /healthz and by ``invoice-printer doctor``, and the metrics.

One rule: it looks and changes nothing. It runs in a process of its own (docs/decisions/0009), so that it can say that
the others do not answer.
"""
