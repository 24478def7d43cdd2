"""From a sealed invoice to its customer and back: who gets it, by which way, and what became of it.

``customers`` reads the firm's list, ``routes`` decides, ``edge`` speaks the
contract with the delivery server, ``collect`` judges what that server claims,
``paper`` fills the out-tray.
"""
