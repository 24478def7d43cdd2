"""What holds for every test: properties are about values, never about time, for the machine may be busy.

Files that take longest are begun first, so that none of them is alone at the end.
"""

import pytest
from hypothesis import settings

LONGEST = ("test_kills.py", "test_restore.py", "test_show.py", "test_acts_of_customers.py", "test_backup.py")

settings.register_profile("values", deadline=None)
settings.load_profile("values")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
