# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test token: transferFrom behaves oddly for the receivers that one names
@license Apache-2.0
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

# What a receiver makes of a transfer to it; any other number is a plain one.
RETURNS_NOTHING: constant(uint256) = 1
RETURNS_FALSE: constant(uint256) = 2
REVERTS: constant(uint256) = 3
BURNS_ALL_GAS: constant(uint256) = 4
RETURNS_MUCH: constant(uint256) = 5
REVERTS_WITH_MUCH: constant(uint256) = 6
REENTERS: constant(uint256) = 7
TAKES_A_FEE: constant(uint256) = 8
LIES_FALSE: constant(uint256) = 9
LIES_TRUE: constant(uint256) = 10
RETURNS_A_BYTE: constant(uint256) = 11
RETURNS_TWO: constant(uint256) = 12

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
behavior: public(HashMap[address, uint256])
entry: Bytes[2048]
entered: public(bool)


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
def set_behavior(receiver: address, behavior: uint256):
    self.behavior[receiver] = behavior


@external
def set_entry(entry: Bytes[2048]):
    """Say what to call the spender back with."""
    self.entry = entry


@raw_return
@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> Bytes[20000]:
    behavior: uint256 = self.behavior[receiver]
    yes: Bytes[32] = abi_encode(True)
    no: Bytes[32] = abi_encode(False)
    if behavior == RETURNS_FALSE:
        return no
    if behavior == LIES_TRUE:
        return yes
    assert behavior != REVERTS, "receiver is blocked"
    assert behavior != BURNS_ALL_GAS, UNREACHABLE
    if behavior == REVERTS_WITH_MUCH:
        raw_revert(abi_encode(True, empty(uint256[600])))
    fee: uint256 = amount // 100 if behavior == TAKES_A_FEE else 0
    assert self.allowance[sender][msg.sender] >= amount, "allowance too low"
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, receiver, amount - fee)
    if fee != 0:
        self._move(sender, self, fee)
    if behavior == REENTERS:
        self.entered = raw_call(msg.sender, self.entry, revert_on_failure=False)
    if behavior == RETURNS_NOTHING:
        return b""
    if behavior == LIES_FALSE:
        return no
    if behavior == RETURNS_A_BYTE:
        return b"\x01"
    if behavior == RETURNS_TWO:
        return abi_encode(convert(2, uint256))
    if behavior == RETURNS_MUCH:
        return abi_encode(True, empty(uint256[600]))
    return yes


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert self.balanceOf[sender] >= amount, "balance too low"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)
