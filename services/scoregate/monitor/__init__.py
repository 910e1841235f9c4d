"""Whether what is decided is still what the model was trained on: counts → PSI → gauges, report, retraining.

tally.py      counts of some decisions in the bins of the artefact's reference, and their PSI; pure
history.py    such counts for every ten minutes, kept, so that each decision is read once
look.py       the windows that are compared, and what is declared to be reason to train again
now.py        both for a service as it is now
report.py     Evidently's page for people
gauges.py     what Prometheus is told
retrain.py    train → gates → challenger
commands.py   `scoregate monitor`
"""
