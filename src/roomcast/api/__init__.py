"""The main API (port 3000): REST over the domain, and the chat page.

May import: chat, auth, observability, contract.
"""
