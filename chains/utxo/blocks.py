"""
Reading raw blocks and transactions (``getblock`` verbosity 0): what they pay and what they spend.

Scripts are not decoded and no address is written: output scripts are what we search for. Serialized
as BIP144 says; Litecoin's MWEB (LIP-0002) adds a flag to one transaction and an extension behind
the last, which are passed over.
"""

from hashlib import sha256
from struct import Struct

from domain.scanning import Incoming, Outpoint, ScannedBlock

HEADER_BYTES = 80
_WITNESS_FLAG, _MWEB_FLAG = 0x01, 0x08
_OP_RETURN = b"\x6a"
_COINBASE_TXID = bytes(32)
_INPUT_HEAD = Struct("<32sI")
_AMOUNT = Struct("<q")
_LARGE_COUNTS = {0xFD: 2, 0xFE: 4, 0xFF: 8}


def read_block(raw: bytes, *, height: int) -> ScannedBlock:
    """Return what a block holds; the height is not part of its bytes."""
    block_hash = _double_sha256(raw[:HEADER_BYTES])[::-1].hex()
    parent_hash = raw[4:36][::-1].hex()
    reader = _Reader(raw, HEADER_BYTES)
    for _ in range(reader.count()):
        reader.transaction()
    return ScannedBlock(
        height=height,
        hash=block_hash,
        parent_hash=parent_hash,
        txids=tuple(reader.txids),
        incoming=tuple(reader.incoming),
        spent=tuple(reader.spent),
    )


def read_transaction(raw: bytes) -> tuple[str, tuple[Incoming, ...]]:
    """Return the txid of a transaction and what it pays."""
    reader = _Reader(raw, 0)
    reader.transaction()
    return reader.txids[0], tuple(reader.incoming)


class _Reader:
    """Walks over serialized transactions and keeps what they pay and spend."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw = raw
        self._at = at
        self.txids: list[str] = []
        self.incoming: list[Incoming] = []
        self.spent: list[tuple[Outpoint, str]] = []

    def count(self) -> int:
        """Read a CompactSize number."""
        first = self._raw[self._at]
        self._at += 1
        if first < 0xFD:  # noqa: PLR2004
            return first
        size = _LARGE_COUNTS[first]
        value = int.from_bytes(self._raw[self._at : self._at + size], "little")
        self._at += size
        return value

    def _skip(self) -> None:
        """Pass over bytes behind their length; reading the length moves us, so it comes first."""
        size = self.count()
        self._at += size

    def transaction(self) -> None:
        """Read one transaction; its txid does not cover flags and witnesses."""
        raw, start = self._raw, self._at
        flags = raw[start + 5] if raw[start + 4] == 0 else 0
        body = self._at = start + (6 if flags else 4)
        inputs = self._inputs()
        outputs = self._outputs()
        end = self._at
        if flags & _WITNESS_FLAG:
            self._skip_witnesses(len(inputs))
        if flags & _MWEB_FLAG:
            self._skip_mweb()
        lock_time = self._at
        self._at += 4
        stripped = (
            raw[start : lock_time + 4]
            if not flags
            else raw[start : start + 4] + raw[body:end] + raw[lock_time : lock_time + 4]
        )
        self._keep(_double_sha256(stripped)[::-1].hex(), inputs, outputs)

    def _inputs(self) -> list[tuple[bytes, int]]:
        found: list[tuple[bytes, int]] = []
        for _ in range(self.count()):
            found.append(_INPUT_HEAD.unpack_from(self._raw, self._at))
            self._at += 36
            self._skip()
            self._at += 4
        return found

    def _outputs(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        for _ in range(self.count()):
            (amount,) = _AMOUNT.unpack_from(self._raw, self._at)
            self._at += 8
            size = self.count()
            found.append((amount, self._raw[self._at : self._at + size]))
            self._at += size
        return found

    def _skip_witnesses(self, inputs: int) -> None:
        for _ in range(inputs):
            for _ in range(self.count()):
                self._skip()

    def _skip_mweb(self) -> None:
        # In a block the transaction that carries it (HogEx) has an empty one: one zero byte.
        if self._raw[self._at] != 0:
            msg = "A transaction with MWEB data does not stand in a block."
            raise ValueError(msg)
        self._at += 1

    def _keep(
        self, txid: str, inputs: list[tuple[bytes, int]], outputs: list[tuple[int, bytes]]
    ) -> None:
        self.txids.append(txid)
        is_coinbase = len(inputs) == 1 and inputs[0][0] == _COINBASE_TXID
        if not is_coinbase:
            self.spent += [(Outpoint(t[::-1].hex(), index), txid) for t, index in inputs]
        self.incoming += [
            Incoming(txid, f"vout:{place}", script, amount, None, is_coinbase)
            for place, (amount, script) in enumerate(outputs)
            if amount and script[:1] != _OP_RETURN
        ]


def _double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
