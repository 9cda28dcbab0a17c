"""The scripted model: a loopback server that speaks the Messages API, so that the real CLI runs without an account.

It is a program of its own (``python -m pitboss.rehearsal``); nothing of ours imports it. The rooms, from the words
up to the door: ``messages`` (bytes), ``conversation`` (what a request tells), ``references`` (``{{...}}``),
``script`` with ``places`` and ``reader`` (TOML in, all problems out), ``prompter`` (who says what next), ``server``.
"""
