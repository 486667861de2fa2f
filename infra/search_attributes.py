"""Search attributes of our workflows. They are stored in clear: ids only, never addresses."""

SEARCH_ATTRIBUTES = {
    "PayoutId": "Keyword",
    "UserId": "Keyword",
    "Asset": "Keyword",
    "ChainId": "Keyword",
    "BatchId": "Keyword",
    "DepositId": "Keyword",
}
"""Name and type of each; they must exist in the namespace before a workflow starts."""
