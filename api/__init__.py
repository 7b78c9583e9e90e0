"""The REST interface: thin routes over the client library and the ledger. `app.py` wires it."""
