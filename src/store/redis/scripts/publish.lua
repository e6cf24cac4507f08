-- Keeps a batch of publications and tells who follows their channels: all of them, or none.
--
-- ARGV: 1 prefix, 2 epoch, 3 node, then for a channel 4 events, 5 bytes, 6 age (ms), and 7 grain (ms): how exact times
--   need to be. Then for each publication: its order's ticket and its place there, how many channels, the channels, and
--   ttl (ms or ''), collapse or '', key or '', digest, how long the key is kept (ms), body
-- Reply: for each publication 'new', id, copies or 'before', id (0: in an epoch before), streams (-1: not said); or
--   'reused' and which of the batch, from 0
--
-- Numbers are made text by '%d', since Lua's own way, as a fraction, costs a tenth of a publication. A channel's `at` is one
-- field and not five for the same reason: newest id, up to where events are lost, bytes, events, last looked after when.
local P, epoch, node = ARGV[1], ARGV[2], ARGV[3]
local MAX_EVENTS, MAX_BYTES, AGE, GRAIN = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
-- What an event costs beside its bytes, as the other stores count it.
local OVERHEAD = 128
-- So many events are looked at in one go when some are dropped.
local SWEPT = 128
-- A channel may have a tenth too much for a while, since it costs less to drop many events at once.
local SLACK = 10
-- How much longer than it must anything is kept, in milliseconds.
local SPARE = 60000

local head, ns = P .. 'head', P .. epoch .. ':'
local times = ns .. 'times'
local h = redis.call('HMGET', head, 'epoch', 'seq', 'tick')
if h[1] ~= epoch then return redis.error_reply('ANEW another epoch') end
local seq, tick = tonumber(h[2]), tonumber(h[3])

local function whole(number) return string.format('%d', number) end

local batch, digests, i = {}, {}, 8
while i <= #ARGV do
  local p = {channels = {}, by = ARGV[i]}
  i = i + 1
  local count = tonumber(ARGV[i])
  for k = 1, count do p.channels[k] = ARGV[i + k] end
  i = i + count
  p.ttl, p.collapse, p.key, p.digest, p.keep, p.body =
    ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  i = i + 7
  if p.key ~= '' then
    local name = P .. 'key:' .. p.key
    local digest = digests[name]
    if digest then
      p.is_twin = true
    else
      p.known = redis.call('GET', name)
      digest = p.known and string.match(p.known, '^%S+') or p.digest
      digests[name] = digest
    end
    if digest ~= p.digest then return {'reused', #batch} end
    p.key = name
  end
  batch[#batch + 1] = p
end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local now_text = whole(now)

-- Which id was the newest when, once in a grain: `load` judges by it what channels may have lost that are gone.
if now < tick then
  -- A clock went back, so nothing that is written there can be relied on.
  redis.call('DEL', times)
  tick = 0
end
if now - tick >= GRAIN then
  redis.call('ZADD', times, whole(now), whole(seq))
  redis.call('ZREMRANGEBYSCORE', times, '-inf', '(' .. whole(now - AGE))
  redis.call('PEXPIRE', times, whole(AGE + 2 * GRAIN + SPARE))
  redis.call('HSET', head, 'tick', whole(now))
end

-- Up to which id events of a channel may be gone of which nothing is known any more.
local forgotten_id
local function forgotten()
  if not forgotten_id then
    local first = redis.call('ZRANGEBYSCORE', times, whole(now - AGE), '+inf', 'LIMIT', 0, 1)
    forgotten_id = tonumber(first[1] or seq)
  end
  return forgotten_id
end

local function append(channel, p, entry, mine)
  local log, meta = ns .. 'log:' .. channel, ns .. 'meta:' .. channel
  local field = p.collapse ~= '' and 'c:' .. p.collapse
  local m = field and redis.call('HMGET', meta, 'at', field) or {redis.call('HGET', meta, 'at')}
  local last, lost, bytes, count, kept
  if m[1] then last, lost, bytes, count, kept = string.match(m[1], '(%d+) (%d+) (%d+) (%d+) (%d+)') end
  kept = tonumber(kept or 0)
  -- Now and then: what is too old is dropped, and the channel is kept longer.
  local turn = now - kept >= GRAIN
  if last and turn and redis.call('EXISTS', log) == 0 then
    -- All of it was too old, and what is known of it was about to go too.
    redis.call('DEL', meta)
    lost, bytes, count = tonumber(last), 0, 0
  elseif last then
    lost, bytes, count = tonumber(lost), tonumber(bytes), tonumber(count)
    if m[2] then
      local older, size = string.match(m[2], '(%d+) (%d+)')
      local removed = redis.call('XDEL', log, older .. '-0')
      bytes, count = bytes - removed * size, count - removed
    end
  else
    redis.call('UNLINK', log)
    last, lost, bytes, count = '0', forgotten(), 0, 0
  end
  local size = #entry + OVERHEAD
  redis.call('XADD', log, mine .. '-0', 'e', entry)
  bytes, count = bytes + size, count + 1

  -- Looks at some of the oldest events, and drops those that are over. Says whether any were.
  local function drop(most, is_over)
    local upto
    for _, oldest in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', most)) do
      local value = oldest[2][2]
      if not is_over(value) then break end
      upto = string.match(oldest[1], '%d+')
      bytes, count, lost = bytes - #value - OVERHEAD, count - 1, tonumber(upto)
      local length, rest = string.match(value, '^%d+ %d+ (%d+)\n()')
      if upto == mine then
        field = nil
      elseif length ~= '0' then
        redis.call('HDEL', meta, 'c:' .. string.sub(value, rest, rest + length - 1))
      end
    end
    if upto then redis.call('XTRIM', log, 'MINID', '=', whole(lost + 1) .. '-0') end
    return upto
  end
  if count > MAX_EVENTS + math.floor(MAX_EVENTS / SLACK) or bytes > MAX_BYTES + math.floor(MAX_BYTES / SLACK) then
    local function is_over() return count > MAX_EVENTS or bytes > MAX_BYTES end
    repeat
      local over = math.max(count - MAX_EVENTS, math.ceil((bytes - MAX_BYTES) * count / bytes), 1)
    until not is_over() or not drop(math.min(over, SWEPT), is_over)
  end
  if turn then
    local function is_over(value) return tonumber(string.match(value, '^%d+')) < now - AGE end
    if drop(1, is_over) then drop(SWEPT, is_over) end
    kept = now
  end
  local at = mine .. ' ' .. whole(lost) .. ' ' .. whole(bytes) .. ' ' .. whole(count) .. ' ' .. whole(kept)
  if field then
    redis.call('HSET', meta, 'at', at, field, mine .. ' ' .. whole(size))
  else
    redis.call('HSET', meta, 'at', at)
  end
  if turn then
    -- What is known of a channel outlives its log.
    redis.call('PEXPIRE', log, whole(AGE + GRAIN + SPARE))
    redis.call('PEXPIRE', meta, whole(AGE + 2 * GRAIN + SPARE))
  end
  return last
end

local reply = {}
for _, p in ipairs(batch) do
  -- One of the same batch may have set it since.
  local known = p.known or p.is_twin and redis.call('GET', p.key)
  if known then
    local its_epoch, its_seq, streams = string.match(known, '^%S+ (%S+) (%S+) (%S+)$')
    reply[#reply + 1] = 'before'
    reply[#reply + 1] = its_epoch == epoch and its_seq or '0'
    reply[#reply + 1] = streams
  else
    seq = redis.call('HINCRBY', head, 'seq', '1')
    local mine = whole(seq)
    local expires = p.ttl == '' and '0' or whole(now + p.ttl)
    local kept = ' ' .. expires .. ' ' .. #p.collapse .. '\n' .. p.collapse .. p.body
    local entry = now_text .. kept
    local told = ' ' .. node .. ' ' .. p.by .. ' ' .. table.concat(p.channels, ',') .. ' ' .. entry
    local copies = 0
    for _, channel in ipairs(p.channels) do
      local before = append(channel, p, entry, mine)
      copies = copies + redis.call('PUBLISH', P .. 'ch:' .. channel, 'e ' .. epoch .. '-' .. mine .. ' ' .. before .. told)
    end
    if p.key ~= '' then
      redis.call('SET', p.key, p.digest .. ' ' .. epoch .. ' ' .. mine .. ' -1', 'PX', p.keep)
    end
    reply[#reply + 1] = 'new'
    reply[#reply + 1] = mine
    reply[#reply + 1] = copies
  end
end
return reply
