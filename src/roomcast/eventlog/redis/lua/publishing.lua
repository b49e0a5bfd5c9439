-- Sharded channels since Redis 7, which is also when Lua learned its version. Subscribers decide likewise.
local PUBLISH = redis.REDIS_VERSION_NUM and 'SPUBLISH' or 'PUBLISH'
