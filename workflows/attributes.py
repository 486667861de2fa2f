"""Typed keys of our search attributes; ``infra.search_attributes`` creates them."""

from collections.abc import Mapping

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

PAYOUT_ID = SearchAttributeKey.for_keyword("PayoutId")
USER_ID = SearchAttributeKey.for_keyword("UserId")
ASSET = SearchAttributeKey.for_keyword("Asset")
CHAIN_ID = SearchAttributeKey.for_keyword("ChainId")
BATCH_ID = SearchAttributeKey.for_keyword("BatchId")


def attributes(values: Mapping[SearchAttributeKey[str], str]) -> TypedSearchAttributes:
    """Return search attributes with these values."""
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in values.items()])
