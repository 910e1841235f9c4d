"""Events between the ledger and the feature store: relay, worker, offline twin.

keys.py       names of what is kept in Valkey for one stream; all of them in one cluster slot
producer.py   puts events on a stream, each once, whoever tries how often
relay.py      in a serving process: what the ledger's outbox holds and the stream lacks
rows.py       one entity's row of one view: tiles that events are added to, and Feast's bytes
worker.py     stream → rows; one process per shard
twin.py       stream → Parquet, what training and backfill read
commands.py   `scoregate features run`

Delivery is at least once everywhere and the effect exactly once: a writer's events carry numbers, so that a stream
takes each once; a stream has one order, and each row says up to where in that order it has counted.
"""
