# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test token: reverts with a reason while paused and for blocked receivers
@license Apache-2.0
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
paused: public(bool)
blocked: public(HashMap[address, bool])


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def set_paused(paused: bool):
    self.paused = paused


@external
def set_blocked(receiver: address, blocked: bool):
    self.blocked[receiver] = blocked


@external
def transfer(receiver: address, amount: uint256) -> bool:
    assert not self.paused, "token is paused"
    assert not self.blocked[receiver], "receiver is blocked"
    self._move(msg.sender, receiver, amount)
    return True


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert self.balanceOf[sender] >= amount, "balance too low"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)
