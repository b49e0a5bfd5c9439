-- Redis 7 added both sharded channels and REDIS_VERSION_NUM. Subscribers use sharded channels on the same servers.
local PUBLISH = redis.REDIS_VERSION_NUM and 'SPUBLISH' or 'PUBLISH'
