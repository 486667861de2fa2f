"""
The chart of accounts: the code of every account a posting may touch.

An account's balance is credits minus debits. What we owe (customers, capital, fees earned) is
positive; what we own (``omnibus``) is negative, so that each asset sums to zero over all accounts
and ``-omnibus`` must equal what the chain holds.
"""


def available(user_id: str) -> str:
    """Return the account a customer can spend from; the database keeps it from going negative."""
    return f"user:{user_id}:available"


def held(user_id: str) -> str:
    """Return the account that carries a customer's frozen money."""
    return f"user:{user_id}:held"


def onchain(user_id: str, chain_id: str) -> str:
    """Return the account of what a customer's own pocket on a chain holds for them."""
    return f"user:{user_id}:onchain:{chain_id}"


def onchain_held(user_id: str, chain_id: str) -> str:
    """Return the account that carries what is frozen of a customer's pocket."""
    return f"user:{user_id}:onchain_held:{chain_id}"


def omnibus_hot(chain_id: str) -> str:
    """Return the mirror of our hot wallets on a chain."""
    return f"omnibus:{chain_id}:hot"


def omnibus_deposit(chain_id: str) -> str:
    """Return the mirror of the addresses that we handed out on a chain."""
    return f"omnibus:{chain_id}:deposit"


def omnibus_pocket(chain_id: str) -> str:
    """Return the mirror of the customers' own pockets on a chain."""
    return f"omnibus:{chain_id}:pocket"


def pocket_gas(chain_id: str, user_id: str) -> str:
    """
    Return the account of the coin that we lent to a customer's pocket for network fees.

    Below zero it is owed to the pocket: a fee of ours was paid with the customer's own coin.
    """
    return f"gas:{chain_id}:{user_id}"


def inflight(chain_id: str) -> str:
    """Return the account of money that has left a hold and is not yet confirmed on the chain."""
    return f"inflight:{chain_id}"


def network_fees(chain_id: str) -> str:
    """Return the expense account of fees that a chain took."""
    return f"fees:network:{chain_id}"


def customer_network_fees(chain_id: str, user_id: str) -> str:
    """Return the expense account of fees that a chain took for one customer's payouts."""
    return f"{network_fees(chain_id)}:{user_id}"


def mint(asset: str) -> str:
    """Return the account that an internal asset comes from: what is issued, with a minus."""
    return f"mint:{asset}"


def gateway(name: str) -> str:
    """Return the mirror of our money at a payment gateway."""
    return f"gateway:{name}"


def purchase_clearing(source: str) -> str:
    """Return the account of what came in for purchases, by chain or gateway, not converted yet."""
    return f"purchases:clearing:{source}"


def mix_owed(mix_id: str) -> str:
    """Return the account of what came in for one mix and has not left yet."""
    return f"mix:{mix_id}:owed"


def mixer_fees(mixer_id: str) -> str:
    """Return the account of the fees that one mixer earned."""
    return f"mixer:{mixer_id}:fees"


PURCHASE_PROCEEDS = "purchases:proceeds"
"""What customers paid for what they bought: ours."""

CONVERSION_STOCK = "conversions:stock"
"""
What we set aside to convert into, and what we took for it: ours.

Of an internal asset there is none: that is issued and taken back; see ``mint``. The database keeps
it from going negative.
"""

CONVERSION_RESERVED = "conversions:reserved"
"""What of that is promised to transfers on their way; the database keeps it from going negative."""

SERVICE_FEES = "fees:service"
"""Fees that customers paid us."""

CAPITAL = "capital"
"""The operator's own money, such as what pays for gas."""

UNCLAIMED = "unclaimed"
"""Deposits too small to be credited: on our addresses, and nobody's balance."""

SUSPENSE = "suspense"
"""What nobody could explain yet; anything but zero needs a person."""
