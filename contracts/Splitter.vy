# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Test contract: passes coin and tokens on, in every way that a deposit can come about
@license Apache-2.0
"""

from ethereum.ercs import IERC20

MOST: constant(uint256) = 16

chosen: public(uint256)
heir: public(address)


@external
@payable
def pay(receivers: DynArray[address, MOST], amounts: DynArray[uint256, MOST]):
    """Send each receiver its amount."""
    self._pay(receivers, amounts)


@external
def pay_tokens(
    token: address, receivers: DynArray[address, MOST], amounts: DynArray[uint256, MOST]
):
    """Send each receiver its amount of a token that lies here."""
    for i: uint256 in range(len(receivers), bound=MOST):
        extcall IERC20(token).transfer(receivers[i], amounts[i])


@external
@payable
def pay_both(token: address, receiver: address, coins: uint256, tokens: uint256):
    """Send coin and tokens to one receiver."""
    raw_call(receiver, b"", value=coins)
    extcall IERC20(token).transfer(receiver, tokens)


@external
@payable
def pay_in_vain(token: address, receiver: address, coins: uint256, tokens: uint256):
    """Send coin and tokens within a call that fails; only the call is undone."""
    data: Bytes[132] = abi_encode(
        token,
        receiver,
        coins,
        tokens,
        method_id=method_id("pay_and_fail(address,address,uint256,uint256)"),
    )
    done: bool = raw_call(self, data, value=coins, revert_on_failure=False)
    assert not done, "it was to fail"


@external
@payable
def pay_and_fail(token: address, receiver: address, coins: uint256, tokens: uint256):
    """Send coin and tokens, then undo everything."""
    raw_call(receiver, b"", value=coins)
    extcall IERC20(token).transfer(receiver, tokens)
    raise "taken back"


@external
def pay_half(token: address, receiver: address):
    """Send half of the tokens that lie here: how much depends on what came before."""
    extcall IERC20(token).transfer(receiver, staticcall IERC20(token).balanceOf(self) // 2)


@external
def choose(number: uint256):
    """Say which token ``pay_chosen`` sends."""
    self.chosen = number


@external
def pay_chosen(tokens: DynArray[address, MOST], receiver: address, amount: uint256):
    """Send one of these tokens: which one depends on what came before."""
    extcall IERC20(tokens[self.chosen]).transfer(receiver, amount)


@external
def name_heir(heir: address):
    """Say to whom coin is passed on that comes without a call."""
    self.heir = heir


@internal
def _pay(receivers: DynArray[address, MOST], amounts: DynArray[uint256, MOST]):
    for i: uint256 in range(len(receivers), bound=MOST):
        raw_call(receivers[i], b"", value=amounts[i])


@external
@payable
def __default__():
    """Pass on what comes, once an heir is named."""
    if self.heir != empty(address):
        raw_call(self.heir, b"", value=msg.value)
