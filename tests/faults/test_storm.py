"""A storm of cancellations leaves nothing behind: no task, no descriptor, no generator, no thread, no memory.

Over sockets, against simulated services in a process of their own: 1,000 races of three entrants on each of trio and
asyncio (every wire, plain and TLS, a place that is mute and one that takes no connection; every policy, mid-stream
failover with and without a standby; left, settled, dropped, closed, read in bites, from threads), nine in ten cut off at
a random moment by a scope, a deadline, a task's own ``cancel()``, twice, or a failing sibling. In virtual time: 1,000
races of ``Scripted`` on each loop. Ctrl-C: 12 processes on each loop, each struck at a random moment. Memory and
``-X dev``: in processes of their own, by ``benchmarks/soak.py``. Long: 10,000 races over sockets, on uvloop too, 40,000
in virtual time, 200 times Ctrl-C.

What fails names the seed of its storm and the number of its race; ``Storm(remote, seed).races([number])`` holds it
again.
"""
