"""What a printed document goes through until it is an invoice: convert, split, parse, check.

Documents are hostile: they are opened in readers (:mod:`printerd.pipeline.pools`), never in the process that asks.
"""
