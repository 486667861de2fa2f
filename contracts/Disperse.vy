# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Pays many recipients in one transaction; one that fails does not stop the others
@license Apache-2.0
@notice
    Moves its caller's money alone, keeps nothing, and has no owner, no storage and no upgrade.
    A payment is one word: the recipient in the upper 160 bits, the amount in the lower 96.
"""

MOST: constant(uint256) = 500
AMOUNT_BITS: constant(uint256) = 96
AMOUNT_MASK: constant(uint256) = 2**96 - 1

event PaymentFailed:
    batch_id: indexed(bytes32)
    sender: indexed(address)
    index: uint256
    recipient: address
    amount: uint256

event Dispersed:
    batch_id: indexed(bytes32)
    sender: indexed(address)
    token: address
    paid_count: uint256
    paid_total: uint256


@external
@payable
@nonreentrant
def pay_native(batch_id: bytes32, gas_each: uint256, payments: DynArray[uint256, MOST]):
    """
    @notice Pay the value sent; what failed comes back to the sender in one call at the end
    @param batch_id Says in the events which intent this was
    @param gas_each Gas that a recipient's code may use, beside the 2,300 that come with value
    @param payments Packed payments; the amounts sum up to the value sent, none is zero
    """
    total: uint256 = 0
    failed_total: uint256 = 0
    failed_count: uint256 = 0
    index: uint256 = 0
    for payment: uint256 in payments:
        amount: uint256 = payment & AMOUNT_MASK
        assert amount != 0, "zero amount"
        recipient: address = convert(payment >> AMOUNT_BITS, address)
        # No sum overflows: 500 amounts have 105 bits.
        total = unsafe_add(total, amount)
        paid: bool = raw_call(
            recipient, b"", gas=gas_each, value=amount, max_outsize=0, revert_on_failure=False
        )
        if not paid:
            self._assert_had_its_gas(gas_each)
            failed_total = unsafe_add(failed_total, amount)
            failed_count = unsafe_add(failed_count, 1)
            log PaymentFailed(
                batch_id=batch_id,
                sender=msg.sender,
                index=index,
                recipient=recipient,
                amount=amount,
            )
        index = unsafe_add(index, 1)
    assert total == msg.value, "value is not the sum"
    log Dispersed(
        batch_id=batch_id,
        sender=msg.sender,
        token=empty(address),
        paid_count=unsafe_sub(index, failed_count),
        paid_total=unsafe_sub(total, failed_total),
    )
    # All of it: a recipient can force coin upon this contract by destroying itself. The lock makes
    # sure that no other call's money is here.
    if self.balance != 0:
        raw_call(msg.sender, b"", value=self.balance)


@external
@nonreentrant
def pay_token(
    batch_id: bytes32, gas_each: uint256, token: address, payments: DynArray[uint256, MOST]
):
    """
    @notice Move the sender's tokens, of which it allowed this contract at least the sum
    @dev
        A payment counts as paid when the token does not revert and returns true or nothing.
        How much arrived is in the token's own logs: it may take a charge, or lie.
    @param batch_id Says in the events which intent this was
    @param gas_each Gas that one transfer may use
    @param token An ERC-20 contract
    @param payments Packed payments, none of zero
    """
    # A call to an address without code succeeds.
    assert token.is_contract, "token has no code"
    total: uint256 = 0
    failed_count: uint256 = 0
    index: uint256 = 0
    for payment: uint256 in payments:
        amount: uint256 = payment & AMOUNT_MASK
        assert amount != 0, "zero amount"
        recipient: address = convert(payment >> AMOUNT_BITS, address)
        done: bool = False
        answer: Bytes[32] = b""
        done, answer = raw_call(
            token,
            abi_encode(
                msg.sender,
                recipient,
                amount,
                method_id=method_id("transferFrom(address,address,uint256)"),
            ),
            gas=gas_each,
            max_outsize=32,
            revert_on_failure=False,
        )
        if done and (len(answer) == 0 or (len(answer) == 32 and convert(answer, uint256) == 1)):
            total = unsafe_add(total, amount)
        else:
            self._assert_had_its_gas(gas_each)
            failed_count = unsafe_add(failed_count, 1)
            log PaymentFailed(
                batch_id=batch_id,
                sender=msg.sender,
                index=index,
                recipient=recipient,
                amount=amount,
            )
        index = unsafe_add(index, 1)
    log Dispersed(
        batch_id=batch_id,
        sender=msg.sender,
        token=token,
        paid_count=unsafe_sub(index, failed_count),
        paid_total=total,
    )


@internal
@view
def _assert_had_its_gas(gas_each: uint256):
    """
    @dev
        A call gets at most 63/64 of what is left (EIP-150), silently less than was asked for. What
        is left after the call was left before it too, so this much proves that it had its share.
        Otherwise whoever sets the gas limit could choose whom to make fail.
    """
    assert msg.gas * 63 // 64 >= gas_each, "too little gas"
