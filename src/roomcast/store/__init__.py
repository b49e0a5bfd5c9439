"""The database behind the ports of chat: SQLAlchemy on SQLite or PostgreSQL. The only package that imports SQLAlchemy.

`Database.open` gives what `SqlChatStore` and `SqlTurnStore` run on; `migrate` brings the schema up to date first.

May import: chat, contract.
"""
