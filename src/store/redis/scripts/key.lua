-- Notes with an idempotency key how many streams its publication went to, or until when the key is kept.
--
-- ARGV: 1 prefix, 2 epoch, 3 key, 4 the id and 5 the streams, or '', 6 until when (ms since 1970), or ''
local P, epoch, key, seq, streams, till = unpack(ARGV)
local name = P .. 'key:' .. key
local known = redis.call('GET', name)
if not known then return 0 end
if seq ~= '' then
  local digest, its_epoch, its_seq = string.match(known, '^(%S+) (%S+) (%S+)')
  if its_epoch ~= epoch or its_seq ~= seq then return 0 end
  redis.call('SET', name, digest .. ' ' .. epoch .. ' ' .. seq .. ' ' .. streams, 'KEEPTTL')
end
if till ~= '' then
  local t = redis.call('TIME')
  local left = till - (t[1] * 1000 + math.floor(t[2] / 1000))
  if left > redis.call('PTTL', name) then redis.call('PEXPIREAT', name, till) end
end
return 1
