"""Merkle trees against RFC 6962's own definitions, written down here a second time."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printerd.evidence import merkle

entries = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def mth(data: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word over entries (not leaf hashes)."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = 1
    while k * 2 < len(data):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def hashed(data: list[bytes]) -> list[bytes]:
    return [merkle.leaf_hash(entry) for entry in data]


@pytest.mark.parametrize("size", [*range(18), 31, 32, 33, 100])
def test_the_root_is_that_of_the_definition(size: int) -> None:
    """Growing a tree leaf by leaf gives the root that the recursive definition gives, at every size."""
    data = [bytes([number]) * number for number in range(size)]
    assert merkle.root(hashed(data)) == mth(data)


@given(entries, st.data())
def test_a_tree_is_taken_up_again_from_its_full_subtrees(data: list[bytes], choice: st.DataObject) -> None:
    """Who kept what each append returned goes on at any size, and gets the root of the whole."""
    leaves, tree = hashed(data), merkle.Tree()
    nodes = [tree.append(leaf) for leaf in leaves]
    size = choice.draw(st.integers(0, len(leaves)))
    taken = merkle.Tree(size, [nodes[end] for end in merkle.ends(size)])
    assert taken.root() == merkle.root(leaves[:size])
    for leaf in leaves[size:]:
        taken.append(leaf)
    assert taken.root() == tree.root()


def test_a_tree_has_one_full_subtree_for_each_bit_of_its_size() -> None:
    """Seven leaves are four, two and one; fewer subtrees are no tree."""
    assert merkle.ends(7) == [3, 5, 6]
    assert merkle.ends(8) == [7]
    assert merkle.ends(0) == []
    with pytest.raises(ValueError, match="for each bit"):
        merkle.Tree(7, [bytes(32)])


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    """The empty tree's root is a published constant."""
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_proofs_of_the_example_tree_are_those_of_the_standard() -> None:
    """RFC 6962 section 2.1.3 names the nodes of each proof in its tree of seven leaves."""
    data = [bytes([number]) for number in range(7)]
    a, b, c, d, e, f, j = hashed(data)
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, el = merkle.node_hash(g, h), merkle.node_hash(i, j)
    leaves = hashed(data)
    assert merkle.inclusion(0, leaves) == [b, h, el]
    assert merkle.inclusion(3, leaves) == [c, g, el]
    assert merkle.inclusion(4, leaves) == [f, j, k]
    assert merkle.inclusion(6, leaves) == [i, k]
    assert merkle.consistency(3, leaves) == [c, d, g, el]
    assert merkle.consistency(4, leaves) == [el]
    assert merkle.consistency(6, leaves) == [i, j, k]


@given(entries, st.data())
def test_every_leaf_is_proved_and_no_other(data: list[bytes], draw: st.DataObject) -> None:
    """The proof of a leaf leads to the root from its own place with its own hash, and from nowhere else."""
    leaves, index = hashed(data), draw.draw(st.integers(0, len(data) - 1))
    proof, expected = merkle.inclusion(index, leaves), mth(data)
    assert merkle.verify_inclusion(leaves[index], index, len(data), proof, expected)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"another" * 9), index, len(data), proof, expected)
    assert not merkle.verify_inclusion(leaves[index], index, len(data), [*proof, expected], expected)
    assert not merkle.verify_inclusion(leaves[index], len(data), len(data), proof, expected)
    assert not merkle.verify_inclusion(leaves[index], -1, len(data), proof, expected)
    if proof:
        assert not merkle.verify_inclusion(leaves[index], index, len(data), proof[:-1], expected)


@given(entries, st.data())
def test_growth_is_proved_and_no_other_history(data: list[bytes], draw: st.DataObject) -> None:
    """A consistency proof holds for the tree as it was, and for no tree in which one earlier leaf differs."""
    leaves, first = hashed(data), draw.draw(st.integers(1, len(data)))
    proof, old, new = merkle.consistency(first, leaves), mth(data[:first]), mth(data)
    assert merkle.verify_consistency(first, len(data), old, new, proof)
    forged = [*data[: first - 1], b"another" * 9]
    assert not merkle.verify_consistency(first, len(data), mth(forged), new, proof)
    assert not merkle.verify_consistency(first, len(data), old, mth([*data, b"more"]), proof)
    assert not merkle.verify_consistency(first, len(data), old, new, [*proof, new])
    if proof:
        assert not merkle.verify_consistency(first, len(data), old, new, proof[:-1])


@given(entries)
def test_a_tree_began_empty(data: list[bytes]) -> None:
    """Every tree is consistent with the empty one, without a proof; a tree larger than the later one is not."""
    root = mth(data)
    assert merkle.verify_consistency(0, len(data), merkle.EMPTY, root, merkle.consistency(0, hashed(data)))
    assert not merkle.verify_consistency(0, len(data), root, root, [])
    assert not merkle.verify_consistency(len(data) + 1, len(data), root, root, [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_there_is_no_proof_for_what_is_not_there(index: int, size: int) -> None:
    """A place outside of the tree is refused."""
    with pytest.raises(IndexError):
        merkle.inclusion(index, [bytes(32)] * size)


@pytest.mark.parametrize("first", [-1, 6])
def test_there_is_no_history_beyond_the_tree(first: int) -> None:
    """A size outside of the tree is refused."""
    with pytest.raises(IndexError):
        merkle.consistency(first, [bytes(32)] * 5)
