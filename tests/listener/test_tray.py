"""The renames of a hot folder: nothing is overwritten, no link is followed, and any of them may be the last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from printerd.listener.tray import Claim, Tray

KEY = "0123456789abcdef" * 2
LONG = "é" * 125 + ".pdf"
"""A name of 254 bytes."""


def put(folder: Path, *names: str, data: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(data)


def files(folder: Path) -> dict[str, str]:
    """Everything below a folder that is no folder: path → content."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(folder)): "" if path.is_symlink() else path.read_text("utf-8") for path in found}


def taken(tray: Tray, *names: str) -> Claim:
    """What was taken of the folder; it is the only thing there."""
    assert tray.take([names]) == []
    (claim,) = tray.claims()
    return claim


def test_what_is_taken_has_a_key_of_its_own(tmp_path: Path) -> None:
    """Two groups have two keys, the same file again another one; each lies with its sidecar, which goes before it."""
    tray = Tray(tmp_path)
    put(tmp_path, "a.pdf", "a.json", "b.pdf")
    assert tray.take([("a.json", "a.pdf"), ("b.pdf",)]) == []
    claims = {tray.names(claim): claim.key for claim in tray.claims()}
    assert set(claims) == {("a.json", "a.pdf"), ("b.pdf",)}
    put(tmp_path, "b.pdf")
    tray.take([("b.pdf",)])
    assert len({claim.key for claim in tray.claims()}) == 3
    assert (tmp_path / ".taking").stat().st_mode & 0o777 == 0o700


def test_what_is_done_lies_beside_its_namesakes(tmp_path: Path) -> None:
    """A name that is taken gets an addition, the same for document and sidecar."""
    tray = Tray(tmp_path)
    for _ in range(3):
        put(tmp_path, "a.pdf", "a.json")
        claim = taken(tray, "a.json", "a.pdf")
        tray.settle(claim, "done")
    names = sorted(files(tmp_path))
    assert len(names) == 6 and {"done/a.json", "done/a.pdf"} < set(names)
    assert {name.rpartition(".")[0] for name in names if name.endswith("pdf")} == {
        name.rpartition(".")[0] for name in names if name.endswith("json")
    }
    assert tray.claims() == []


def test_a_failure_says_why(tmp_path: Path) -> None:
    """The reason lies beside the document and is named as it is; who may read the folder may read it."""
    tray = Tray(tmp_path)
    tmp_path.chmod(0o755)
    for reason in ("première", "seconde"):
        put(tmp_path, "a.pdf", "a.json")
        tray.settle(taken(tray, "a.json", "a.pdf"), "failed", reason)
    found = files(tmp_path / "failed")
    assert found["a.pdf.reason.txt"] == "première"
    (other,) = (name for name in found if name.endswith(".reason.txt") and name != "a.pdf.reason.txt")
    assert found[other] == "seconde" and other.removesuffix(".reason.txt") in found
    assert (tmp_path / "failed").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "failed" / other).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "name", [LONG, "a" * 255, "x." + "y" * 253, os.fsdecode(b"\xff" * 251 + b".pdf"), "-rf", "a\nb"]
)
def test_a_name_of_any_length_stays_a_name(tmp_path: Path, name: str) -> None:
    """255 bytes are the most: an addition and a reason's name cut the start, never the limit."""
    tray = Tray(tmp_path)
    for verdict, reason in [("done", ""), ("done", ""), ("failed", "why"), ("failed", "why")]:
        put(tmp_path, name)
        tray.settle(taken(tray, name), verdict, reason)
    assert len(list((tmp_path / "done").iterdir())) == 2
    assert len(list((tmp_path / "failed").iterdir())) == 4
    assert name in os.listdir(tmp_path / "done")  # noqa: PTH208 - Path would be the same


def test_what_has_gone_meanwhile_is_left(tmp_path: Path) -> None:
    """A document that was removed before it could be taken costs nobody; its sidecar stays where it was."""
    tray = Tray(tmp_path)
    put(tmp_path, "a.json", "b.pdf")
    assert tray.take([("a.json", "a.pdf"), ("b.pdf",)]) == []
    assert [tray.names(claim) for claim in tray.claims()] == [("b.pdf",)]
    assert "a.json" in files(tmp_path)


KILLED: dict[str, tuple[dict[str, str], set[str]]] = {
    "before anything was renamed": ({"a.json": "s", "a.pdf": "d", f".taking/{KEY}/": ""}, {"a.json", "a.pdf"}),
    "between sidecar and document": ({f".taking/{KEY}/a.json": "s", "a.pdf": "d"}, {"a.json", "a.pdf"}),
    "the same, and another came": (
        {f".taking/{KEY}/a.json": "s", "a.json": "new", "a.pdf": "d"},
        {"a.json", f"a-{KEY[:8]}.json", "a.pdf"},
    ),
    "when all was taken": (
        {f".taking/{KEY}/a.json": "s", f".taking/{KEY}/a.pdf": "d"},
        {f".taking/{KEY}/a.json", f".taking/{KEY}/a.pdf"},
    ),
    "between reason and verdict": (
        {f".taking/{KEY}/a.json": "s", f".taking/{KEY}/a.json.reason.txt": "old"},
        {f".taking/{KEY}/a.json", f".taking/{KEY}/a.json.reason.txt"},
    ),
}


@pytest.mark.parametrize("moment", KILLED)
def test_what_was_half_taken_is_put_back(tmp_path: Path, moment: str) -> None:
    """After a kill at any moment of taking, a document has its sidecar beside it, in one place or the other."""
    before, after = KILLED[moment]
    for path, content in before.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if content:
            (tmp_path / path).write_text(content)
        else:
            (tmp_path / path).mkdir(parents=True)
    Tray(tmp_path).restore()
    assert set(files(tmp_path)) == after


BRINGING: dict[str, dict[str, str]] = {
    "after the verdict": {"a.json": "s", "a.pdf": "d", "a.pdf.reason.txt": "why"},
    "after the first": {"a.pdf": "d", "a.pdf.reason.txt": "why"},
    "after the document": {"a.pdf.reason.txt": "why"},
    "after all": {},
}


@pytest.mark.parametrize("moment", BRINGING)
def test_what_was_half_brought_is_brought(tmp_path: Path, moment: str) -> None:
    """After a kill at any moment of the way to failed, what is left follows, and nothing is decided anew."""
    tray = Tray(tmp_path)
    (tmp_path / ".taking" / f"{KEY}.failed").mkdir(parents=True)
    for name, content in BRINGING[moment].items():
        (tmp_path / ".taking" / f"{KEY}.failed" / name).write_text(content)
    (claim,) = tray.claims()
    assert claim == Claim(KEY, "failed")
    tray.restore()
    tray.bring(claim)
    assert files(tmp_path) == {f"failed/{name}": content for name, content in BRINGING[moment].items()}
    assert tray.claims() == []


@pytest.mark.parametrize("place", [".taking", "done", "failed", "invoices"])
def test_no_link_to_a_folder_is_followed(tmp_path: Path, place: str) -> None:
    """A link in the place of a folder of ours leads nowhere: nothing is taken, or nothing is moved."""
    hot, elsewhere = tmp_path / "hot", tmp_path / "elsewhere"
    put(elsewhere, "theirs.pdf")
    put(hot, "a.pdf")
    (hot / place).symlink_to(elsewhere)
    tray = Tray(hot, "invoices" if place == "invoices" else "")
    with pytest.raises(NotADirectoryError):
        tray.hold()
        tray.settle(taken(tray, "a.pdf"), "failed" if place == "failed" else "done", "why" * (place == "failed"))
    tray.release()
    assert files(elsewhere) == {"theirs.pdf": "x"}


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """IT sets the path, so it may lead elsewhere."""
    put(tmp_path / "real", "a.pdf")
    (tmp_path / "hot").symlink_to(tmp_path / "real")
    tray = Tray(tmp_path / "hot")
    tray.settle(taken(tray, "a.pdf"), "done")
    assert files(tmp_path / "real") == {"done/a.pdf": "x"}


def test_what_others_put_beside_what_is_taken_is_left_alone(tmp_path: Path) -> None:
    """Only names that are keys are ours."""
    put(tmp_path / ".taking", "notes.txt")
    (tmp_path / ".taking" / "0123").mkdir()
    tray = Tray(tmp_path)
    tray.restore()
    assert tray.claims() == []
    assert set(files(tmp_path)) == {".taking/notes.txt"}


def test_a_folder_belongs_to_one_service(tmp_path: Path) -> None:
    """The second that holds it is told; when the first lets go, or the folder is another one, it may."""
    first, second = Tray(tmp_path), Tray(tmp_path)
    assert first.hold() and not first.hold()
    with pytest.raises(BlockingIOError):
        second.hold()
    first.release()
    assert second.hold()
    (tmp_path / ".taking").rename(tmp_path / "old")
    assert second.hold()
    second.release()
