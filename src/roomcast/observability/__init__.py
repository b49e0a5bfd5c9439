"""Structured logs and the observers that feed them.

May import: chat, realtime, contract.
"""
