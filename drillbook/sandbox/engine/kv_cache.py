"""The KV cache as vLLM counts it: fixed-size blocks, taken as a sequence grows, given back when it ends."""

from __future__ import annotations


class KVCache:
    """Block accounting; no prefix is ever shared. One of the blocks stands for nothing (vLLM's null block): it is never
    given out.
    """

    def __init__(self, blocks: int, block_size: int) -> None:
        self.blocks = blocks - 1
        self.block_size = block_size
        self._held: dict[str, int] = {}
        self._free = self.blocks

    @property
    def usage(self) -> float:
        """Share of blocks in use, 0 to 1."""
        return 1 - self._free / self.blocks

    def fits(self, tokens: int) -> bool:
        """Whether a new sequence of so many tokens would find room."""
        return -(-tokens // self.block_size) <= self._free

    def grow(self, sequence: str, tokens: int) -> bool:
        """Have blocks for ``tokens`` tokens of a sequence; False, and nothing taken, where too few are free."""
        held = self._held.get(sequence, 0)
        more = -(-tokens // self.block_size) - held
        if more > self._free:
            return False
        if more > 0:
            self._free -= more
            self._held[sequence] = held + more
        return True

    def release(self, sequence: str) -> None:
        """Give a sequence's blocks back."""
        self._free += self._held.pop(sequence, 0)
