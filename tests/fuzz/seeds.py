"""Writes the corpora: what the seeds of each target make. Inputs that are kept stay as they are.

python -m tests.fuzz.seeds
"""

from __future__ import annotations

from tests.fuzz.target import CORPORA, KEPT, load, names


def write(name: str) -> int:
    """The number of inputs that the target makes."""
    folder, made = CORPORA / name, load(name).seeds()
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if not file.name.startswith(KEPT) and file.name not in made:
            file.unlink()
    for seed, data in made.items():
        (folder / seed).write_bytes(data)
    return len(made)


if __name__ == "__main__":
    for name in names():
        print(f"{name}: {write(name)} inputs")
