"""The Internet Printing Protocol, standard library only.

``message`` holds the values, ``codec`` turns them into octets and back
(RFC 8010). ``registry`` knows the numbers and ``attributes`` the names and
syntaxes of RFC 8011 and PWG 5100.x. ``request`` makes the checks that are
common to all operations, and the answers.
"""
