"""
Mixing, as rules without I/O: what it costs, in which parts it leaves, when, and who does it.

Whoever watches the chain sees every amount and every moment. So amounts are drawn from a short
series that everybody's are drawn from, moments from slots that everybody's fall into, and the fee
leaves no remainder that would tell one user's money from another's.
"""
