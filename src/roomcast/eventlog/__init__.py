"""The ordered per-chat log and its live feed, one module for each engine behind `chat.ports.EventLog`.

May import: chat, contract.
"""
