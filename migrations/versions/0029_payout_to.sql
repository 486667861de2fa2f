-- Whether an address was paid before is asked whenever a mix is opened.
CREATE INDEX payout_to ON payout (destination);
