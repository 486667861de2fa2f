"""Sweeps as the API speaks of them."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas.base import Answer
from api.schemas.chains import ChainIdText
from models.chain_transactions import ChainTransaction, ChainTransactionStatus


class SweepView(Answer):
    """One chain transaction between our own addresses."""

    id: str = Field(examples=["ctx_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
    kind: Literal["sweep", "gas_topup"] = Field(
        description="`gas_topup` gives a deposit address the coin that sweeping its tokens costs."
    )
    chain_id: ChainIdText
    asset: str
    amount: str = Field(description="Minor units that arrive.")
    source: str = Field(description="The deposit address; the hot wallet where many are swept.")
    destination: str
    status: ChainTransactionStatus
    txid: str | None = Field(description="Once it is in a block.")
    network_fee: str | None = Field(description="What the chain took, in its native asset.")
    created_at: datetime
    settled_at: datetime | None


class SweepRequestView(Answer):
    """A sweep was asked for; what it finds shows in the list."""

    chain_id: ChainIdText
    workflow_url: str | None


def sweep_view(row: ChainTransaction) -> SweepView:
    """Return a sweep as the API shows it."""
    return SweepView.model_validate(
        {
            "id": row.id,
            "kind": row.kind,
            "chain_id": row.chain_id,
            "asset": row.asset,
            "amount": str(row.amount_minor),
            "source": row.wallet_address,
            "destination": row.destination,
            "status": row.status,
            "txid": row.txid,
            "network_fee": None if row.network_fee_minor is None else str(row.network_fee_minor),
            "created_at": row.created_at,
            "settled_at": row.settled_at,
        }
    )
