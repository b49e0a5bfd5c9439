"""The worker service: claims AI turns and answers them.

May import: chat, responders, observability, contract.
"""
