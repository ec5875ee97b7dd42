"""Proof of possession: who can quote a file at places chosen by the hub need not send it again.

A digest is no proof, for digests get about. The hub names places at random; the answer is the
SHA-256 of the challenge followed by the bytes at those places, in order. It quotes from a blob of
the announced length alone: who could choose another one could guess the first byte, then the next.
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
"""Smaller files are sent: that costs no more than a proof, and few bytes are soon guessed."""
DENIAL_SECONDS = 0.25
"""How long any refusal takes, so that its time does not tell whether the hub has the bytes."""


def challenge() -> str:
    """A fresh challenge: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def places(challenge: str, length: int) -> list[ByteRange]:
    """What the answer to *challenge* quotes of a file of *length* bytes; small files: all."""
    if length <= PLACES * PLACE:
        return [ByteRange(0, length)]
    found = []
    for number in range(PLACES):
        seed = hashlib.sha256(bytes.fromhex(challenge) + number.to_bytes(4)).digest()
        start = int.from_bytes(seed[:16]) % (length - PLACE + 1)
        found.append(ByteRange(start, start + PLACE))
    return found


async def proven(blobs: BlobStore, digest: Digest, length: int, nonce: str, proof: str) -> bool:
    """Whether *proof* answers the challenge *nonce* for the blob *digest*, if there is one."""
    answer = await _answer(blobs, digest, length, nonce)
    return answer is not None and hmac.compare_digest(answer.encode(), proof.lower().encode())


async def denial(begun: float) -> Denied:
    """How any proof is refused, whatever the reason: as late after *begun*, and in these words."""
    await asyncio.sleep(begun + DENIAL_SECONDS - time.monotonic())
    return Denied("The proof does not match; send the bytes.")


async def _answer(blobs: BlobStore, digest: Digest, length: int, nonce: str) -> str | None:
    """What the proof has to be; None if there is no such blob of that length."""
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
