"""Decides again what the ledger holds: to prove it, or to see what another model or policy would have done.

history.py           entries in pages, read-only, from either store
replay.py            the same decision from entry and artefact, compared bit for bit
backtest.py          other decisions on the same vectors, counted
backtest_report.py   what a backtest found, in lines
commands.py          `scoregate ledger replay`, `scoregate backtest`
"""
