"""Invoice Printer: a printed invoice becomes a sealed, archived, delivered and acknowledged document.

The way of a document::

    listener     a print client's bytes and what it says about them
    intake       file, directory and row are durable; only then is the client answered
    pipeline     convert, split, parse, check: an invoice, or a question for a person
    evidence     sign, timestamp, archive, ledger
    delivery     mail by the receipt service, or paper
    evidence     the customer's act comes back and becomes a sealed receipt
"""

__version__ = "0.1.0"
