-- Tells all nodes to end a user's streams, and keeps the user out for a while.
--
-- ARGV: 1 prefix, 2 node, 3 ticket, 4 user, 5 for how long the user is kept out (ms or ''), 6 the event as it is told
-- Reply: how many nodes were told
local P, node, ticket, user, block, event = unpack(ARGV)
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local blocks, till = P .. 'blocks', 0
redis.call('ZREMRANGEBYSCORE', blocks, '-inf', now)
if block ~= '' then
  -- The last word counts, as on one node: a shorter block takes the place of a longer one.
  till = string.format('%.0f', now + block)
  redis.call('ZADD', blocks, till, user)
  local last = redis.call('ZRANGE', blocks, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', blocks, string.format('%.0f', last[2]))
end
return redis.call('PUBLISH', P .. 'all', 'k ' .. node .. ' ' .. ticket .. ' ' .. till .. ' ' .. user .. ' ' .. event)
