"""The database behind the ports of chat: SQLAlchemy on SQLite. The only package that imports SQLAlchemy.

May import: chat, contract.
"""
