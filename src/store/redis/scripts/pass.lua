-- Says which id is the newest, and keeps the head.
--
-- ARGV: 1 prefix, 2 epoch, 3 how long the head is kept (ms)
local head = ARGV[1] .. 'head'
local h = redis.call('HMGET', head, 'epoch', 'seq')
if h[1] ~= ARGV[2] then return redis.error_reply('ANEW another epoch') end
redis.call('PEXPIRE', head, ARGV[3])
return h[2]
