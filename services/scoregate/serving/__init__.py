"""The door: the only room that knows BentoML and ASGI.

http.py        a request and a response
routes.py      paths
gate.py        what a request passes before it is handled
auth.py        who asks, by key or token
principal.py   what somebody may do
keys.py        keys as the door reads them
keyfile.py     keys as their owner changes them
tokens.py      tokens of an issuer
issuer.py      the issuer's public keys
buckets.py     rates and failed attempts, by name
admission.py   who gets in
bound.py       how many, measured
lane.py        the turns of batches
shedding.py    the cheapest refusal
wire.py        bytes → valid request
events.py      posted events → durable ones, and what a scored request is to others
startup.py     what must agree before a process is ready
answering.py   the handlers that decide
batching.py    the handler of many rows
posting.py     the handler of posted events
describing.py  the handlers of what is read
health.py      ready, degraded, draining
chaos.py       rehearsals of faults
door.py        one request from its first byte to its last
openapi.py     the document
pulse.py       the heartbeat
bento.py       the door as a BentoML service
protocol.py    its server's protocol
"""
