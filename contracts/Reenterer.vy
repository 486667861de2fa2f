# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test contract: whoever pays it makes it call, such as the payer back
@license Apache-2.0
"""

target: public(address)
entry: Bytes[1024]
coins: public(uint256)
is_strict: public(bool)
is_inside: transient(bool)


@external
def set_entry(target: address, entry: Bytes[1024], coins: uint256, is_strict: bool):
    """Say what to call and with how much coin; a strict one fails when the call does."""
    self.target = target
    self.entry = entry
    self.coins = coins
    self.is_strict = is_strict


@external
@payable
def __default__():
    if self.is_inside:
        return
    self.is_inside = True
    done: bool = raw_call(self.target, self.entry, value=self.coins, revert_on_failure=False)
    assert done or not self.is_strict, "could not enter"
    self.is_inside = False
