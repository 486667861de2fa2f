# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test token: transfer returns nothing, as some widely held tokens do
@license Apache-2.0
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def transfer(receiver: address, amount: uint256):
    self._move(msg.sender, receiver, amount)


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert self.balanceOf[sender] >= amount, "balance too low"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)
