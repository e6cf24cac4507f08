-- Marks events of a user's channel as read, and tells who follows it.
--
-- ARGV: 1 prefix, 2 epoch, 3 node, 4 ticket, 5 age (ms), 6 how many are marked one by one at most, 7 the channel, 8 up
--   to which id all are read (0: none), then ids
-- The marks are a sorted set of ids; its first member `u` has for its score up to where all is read.
local P, epoch, node, ticket, age, most, channel, up_to = unpack(ARGV, 1, 8)
if redis.call('HGET', P .. 'head', 'epoch') ~= epoch then return redis.error_reply('ANEW another epoch') end
local key = P .. epoch .. ':read:' .. channel
local place = redis.call('ZSCORE', key, 'u')
if not place or tonumber(up_to) > tonumber(place) then place = up_to end
redis.call('ZREMRANGEBYSCORE', key, '-inf', place)
redis.call('ZADD', key, place, 'u')
local seqs = {}
for i = 9, #ARGV do
  local seq = ARGV[i]
  seqs[#seqs + 1] = seq
  if tonumber(seq) > tonumber(place) then redis.call('ZADD', key, seq, seq) end
end
local over = redis.call('ZCARD', key) - 1 - most
if over > 0 then redis.call('ZREMRANGEBYRANK', key, 1, over) end
redis.call('PEXPIRE', key, age)
redis.call('PUBLISH', P .. 'ch:' .. channel,
  'r ' .. epoch .. ' ' .. node .. ' ' .. ticket .. ' ' .. up_to .. ' ' .. table.concat(seqs, ','))
return 1
