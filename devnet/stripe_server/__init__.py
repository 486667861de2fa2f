"""
A local server that speaks the part of Stripe's API that we use, as Stripe documents it.

Payment intents with the test cards, charges, refunds, disputes, events, webhooks that are signed,
retried and, where a test asks for it, late, doubled, lost or out of order; and idempotency keys.
Written from https://docs.stripe.com/api; it moves no money and listens on loopback alone.
"""
