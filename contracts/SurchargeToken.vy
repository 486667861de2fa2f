# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test token: the sender pays 1% on top of each transfer
@license Apache-2.0
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
collector: public(address)


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@deploy
def __init__(collector: address):
    self.collector = collector


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    self._move(msg.sender, self.collector, amount // 100)
    return True


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert self.balanceOf[sender] >= amount, "balance too low"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)
