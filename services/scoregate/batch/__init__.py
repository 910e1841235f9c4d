"""Scores files: many rows through the same contract, features, model, policy and ledger as a request at the door.

rows.py       a file in chunks, and each row as the door would get it
results.py    answers and problems as columns; parts of them, merged into one file
job.py        what is being scored by which model, so that a killed run goes on with the same
worker.py     one process: contract → features → decisions → a part
history.py    features of many requests, each as of its own time
run.py        workers over chunks
commands.py   `scoregate score`
"""
