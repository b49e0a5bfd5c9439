"""What answers a user message, one module for each kind behind `chat.ports.Responder`.

May import: chat, contract.
"""
