# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test contract: whoever pays it is called back, with the payment
@license Apache-2.0
"""

entry: Bytes[2048]
is_strict: public(bool)
tried: public(uint256)
entered: public(uint256)


@external
def set_entry(entry: Bytes[2048], is_strict: bool):
    """Say what to call the payer with; a strict one refuses the payment when that fails."""
    self.entry = entry
    self.is_strict = is_strict


@external
@payable
def __default__():
    done: bool = raw_call(msg.sender, self.entry, value=msg.value, revert_on_failure=False)
    assert done or not self.is_strict, "could not enter"
    self.tried += 1
    if done:
        self.entered += 1
