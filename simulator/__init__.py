"""A stranger: a local venue that speaks Binance spot REST, with faults on request. It imports nothing of ours."""
