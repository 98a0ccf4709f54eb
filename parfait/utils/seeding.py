"""Seeds derived from what a stream is for, so that streams never overlap or depend on order."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 63-bit integer fixed by its parts: ``derive_seed(seed, "noise", path)``.

    A cryptographic hash (BLAKE2b) of the parts: ``seed + i`` would make run 1's stream 2 equal run
    2's stream 1. The same on every machine and in every process.
    """
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
