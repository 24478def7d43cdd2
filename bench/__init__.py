"""Side by side: what the printer reaches, what its peers reach in the same run, and the least that the machine allows.

``python -m bench --help`` lists the parts; :mod:`bench.parts` says what each of them measures.
"""
