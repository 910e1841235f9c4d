"""The door: the only room that knows BentoML and ASGI.

http.py        a request and a response
auth.py        keys and scopes
admission.py   bounds on what is in flight
wire.py        bytes → valid request
events.py      posted events → durable ones, and what a scored request is to others
startup.py     what must agree before a process is ready
door.py        one request from its first byte to its last, health, problems
openapi.py     the document
bento.py       the door as a BentoML service
"""
