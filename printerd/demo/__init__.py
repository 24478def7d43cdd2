"""A small firm that does not exist, its customers and its invoices: what the tour prints, and what tests read.

``trade`` is who buys what; ``forms`` is how an invoice looks; ``pens`` put a form on PDF or PostScript;
``listing`` is the same firm's old plain-text output; ``samples`` writes the files and, beside each, the truth.
Names, numbers and mail addresses are invented; check digits are right, so that every check of the product runs.
"""
