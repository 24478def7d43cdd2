"""The receipt service: mails the links, hands the documents over, and records who did what.

It faces the internet and is a program of its own: it shares no code with
printerd, holds no signing key, and never opens a connection to the LAN. printerd
pushes deliveries and pulls events through the contract (``contract``, ``api``).

The way of a delivery::

    api        a document and a delivery are durable; a letter to each contact waits in the outbox
    letters    the final bytes of that letter, with a link of its own
    mailer     SMTP: accepted, failed, or in doubt; never twice
    pages      the customer looks (GET), acts (POST), and gets the file
    events     each of these, chained, for printerd to collect
"""

__version__ = "0.1.0"
