"""Proof of possession: a client that can quote random parts of a file need not send it.

A digest is no proof, since digests get around. The hub picks random ranges; the answer is the
SHA-256 of the challenge followed by the bytes of those ranges, in order. Only a blob of the
declared length is quoted: a client that could choose another could guess the first byte, then the
next.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time

from dsx.blobs.contract import BlobStore
from dsx.core.digest import Digest
from dsx.core.errors import Denied, NotFound, RangeUnsatisfiable
from dsx.core.ranges import ByteRange

PLACES = 32
PLACE = 4096
LEAST = PLACE
"""Smaller files are sent: that costs no more than a proof, and few bytes are easily guessed."""
DENIAL_SECONDS = 0.25
"""Duration of every refusal, so that its time does not reveal whether the hub has the bytes."""


def challenge() -> str:
    """Return a fresh challenge: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def places(challenge: str, length: int) -> list[ByteRange]:
    """Return the ranges that *challenge* quotes of *length* bytes; of small files everything."""
    if length <= PLACES * PLACE:
        return [ByteRange(0, length)]
    found = []
    for number in range(PLACES):
        seed = hashlib.sha256(bytes.fromhex(challenge) + number.to_bytes(4)).digest()
        start = int.from_bytes(seed[:16]) % (length - PLACE + 1)
        found.append(ByteRange(start, start + PLACE))
    return found


async def proven(blobs: BlobStore, digest: Digest, length: int, nonce: str, proof: str) -> bool:
    """Return whether *proof* answers the challenge *nonce* for the blob *digest*, if it exists."""
    answer = await _answer(blobs, digest, length, nonce)
    return answer is not None and hmac.compare_digest(answer.encode(), proof.lower().encode())


async def denial(begun: float) -> Denied:
    """Return the same refusal for every reason, delayed equally from *begun*."""
    await asyncio.sleep(begun + DENIAL_SECONDS - time.monotonic())
    return Denied("The proof does not match; send the bytes.")


async def _answer(blobs: BlobStore, digest: Digest, length: int, nonce: str) -> str | None:
    """Return the expected proof; None if there is no such blob of that length."""
    if (await blobs.stat([digest])).get(digest) != length:
        return None
    hasher = hashlib.sha256(bytes.fromhex(nonce))
    try:
        for place in places(nonce, length):
            _, chunks = await blobs.open(digest, place)
            async for chunk in chunks:
                hasher.update(chunk)
    except (NotFound, RangeUnsatisfiable):
        return None
    return hasher.hexdigest()
