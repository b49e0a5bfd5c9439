-- Redis 7 added sharded channels and REDIS_VERSION_NUM. Subscribers choose by the same rule.
local PUBLISH = redis.REDIS_VERSION_NUM and 'SPUBLISH' or 'PUBLISH'
