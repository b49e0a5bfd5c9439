"""Who a caller is: access tokens.

May import: chat, contract.
"""
