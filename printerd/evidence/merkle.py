"""Merkle trees, inclusion and consistency proofs of RFC 6962 section 2.1. Pure: bytes in, bytes out.

A list of leaf hashes is a tree; hashes and roots are 32 bytes of SHA-256.
Proofs are lists of hashes from the leaf up, in the order of the RFC.
Proof verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2, which spell
out what RFC 6962 leaves to the reader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()
"""The root of no leaves (RFC 6962 2.1: the hash of an empty string)."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data): the prefix keeps a leaf from posing as a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows leaf by leaf and keeps only its full subtrees: one hash for each bit of its size.

    ``subtrees`` are those of a tree of ``size`` leaves, from the left: where they end is told by :func:`ends`.
    """

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        self.size = size
        self._subtrees = list(subtrees)
        if len(self._subtrees) != size.bit_count():
            raise ValueError("a tree has one full subtree for each bit of its size")

    def append(self, leaf: bytes) -> bytes:
        """Add a leaf hash. Two full subtrees of one size become one, as carries do in a sum.

        Returns the root of the largest full subtree that ends with this leaf.
        """
        node = joined([self._subtrees.pop() for _ in joins(self.size)], leaf)
        self._subtrees.append(node)
        self.size += 1
        return node

    def root(self) -> bytes:
        if not self._subtrees:
            return EMPTY
        result = self._subtrees[-1]
        for subtree in reversed(self._subtrees[:-1]):
            result = node_hash(subtree, result)
        return result


def ends(size: int) -> list[int]:
    """The last leaf of each full subtree of a tree of ``size`` leaves, from the left.

    Each of these subtrees is the largest one that ends there: who keeps the results of :meth:`Tree.append` has them.
    """
    found, end = [], 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            end += 1 << bit
            found.append(end - 1)
    return found


def joins(index: int) -> list[int]:
    """The last leaf of each full subtree that leaf ``index`` (from 0) joins, from the right; none for an even one."""
    found, end, size = [], index - 1, 1
    while index & size:
        found.append(end)
        end -= size
        size <<= 1
    return found


def joined(subtrees: Iterable[bytes], leaf: bytes) -> bytes:
    """The root of the largest full subtree that ends with a leaf hash, from those that it :func:`joins`."""
    node = leaf
    for left in subtrees:
        node = node_hash(left, node)
    return node


def root(leaves: Iterable[bytes]) -> bytes:
    """MTH(D[n]) over leaf hashes."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of section 2.1.1: the proof that leaf ``index`` (from 0) is in the tree. ``IndexError`` outside."""
    if not 0 <= index < len(leaves):
        raise IndexError("no such leaf")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion(index, leaves[:split]), root(leaves[split:])]
    return [*inclusion(index - split, leaves[split:]), root(leaves[:split])]


def consistency(first: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n]) of section 2.1.2: the proof that the first ``first`` leaves have not changed since.

    Empty when there is nothing to prove (``first`` is 0 or the whole tree). ``IndexError`` outside.
    """
    if not 0 <= first <= len(leaves):
        raise IndexError("no such tree")
    return [] if first == 0 else _subproof(first, leaves, known=True)


def _subproof(first: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    if first == len(leaves):
        return [] if known else [root(leaves)]
    split = _split(len(leaves))
    if first <= split:
        return [*_subproof(first, leaves[:split], known=known), root(leaves[split:])]
    return [*_subproof(first - split, leaves[split:], known=False), root(leaves[:split])]


def _split(size: int) -> int:
    """The largest power of two that is smaller than ``size``."""
    return int(1 << ((size - 1).bit_length() - 1))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether ``proof`` leads from a leaf hash at ``index`` to the root of a tree of ``size`` leaves."""
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == expected


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of ``second`` leaves begins with the tree of ``first`` leaves."""
    if not 0 <= first <= second:
        return False
    if first in (0, second):
        return not proof and first_root == (EMPTY if first == 0 else second_root)
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if not path:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
