"""
A Bitcoin regtest node for development and tests, for machines that have no ``bitcoind``.

Consensus is Bitcoin Core's own (``libbitcoinkernel``, through the package ``py-bitcoinkernel``,
which calls itself experimental); mempool, policy and RPC are a small re-creation of Bitcoin Core
27's. It is no wallet, has no peers, and never belongs where money is worth something.

    journal      every block on disk; the one thing that outlives the process
    kernel       consensus rules, rebuilt from the journal
    chain        the active chain as clients see it: blocks, coins, where a transaction is
    mempool      unconfirmed transactions and how they depend on each other
    policy       what is relayed at all
    acceptance   what enters the mempool, replacement (BIP125) included
    node         the above as one thing
    rpc_*        the JSON-RPC methods; server: HTTP
"""
