"""The ledger: the only owner of Postgres; named SQL in, parsed values out."""
