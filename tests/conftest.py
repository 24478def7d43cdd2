"""What holds for every test: properties are about values, never about time, for the machine may be busy."""

from hypothesis import settings

settings.register_profile("values", deadline=None)
settings.load_profile("values")
