"""What can be shown to others: seals, timestamps, the ledger, and how all of it is checked."""
