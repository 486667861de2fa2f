"""Fixtures that every kind of test may ask for."""

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.evm",
    "tests.support.utxo_nodes",
    "tests.support.books",
    "tests.support.coin_books",
    "tests.support.evm_books",
    "tests.support.jobcoin",
    "tests.support.jobcoin_books",
    "tests.support.temporal",
    "tests.support.senders",
]
