"""The Internet Printing Protocol, standard library only.

``message`` holds the values, ``codec`` turns them into octets and back
(RFC 8010), ``registry`` knows names and syntaxes (RFC 8011, PWG 5100.x),
``request`` makes the checks that are common to all operations.
"""
