"""Who is there: the boards on which gateways note which users are in which chats, in memory and in Redis.

May import: chat, redis_client, contract. What presence means is decided in `gateway.presence`.
"""
