-- Joins the deployment, or begins it. Run at every new connection, before anything else.
--
-- ARGV: 1 prefix, 2 epoch to begin if one is to begin, 3 the epoch that this node knows, 4 the newest id it has seen in
--   it, 5 the holes it knows, 6 how long the head is kept (ms)
-- Reply: epoch, head, holes ("a-b,c-d", ends excluded), then users who are kept out, each followed by until when
local P, fresh, known, seen, holes_known, keep = unpack(ARGV)
local head = P .. 'head'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- Ids are given at most this fast, per millisecond, and clocks of servers differ by less than this, in milliseconds.
local RATE, SKEW = 1024, 60000
local MAX_HOLES = 64

local function whole(number) return string.format('%.0f', number) end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local h = redis.call('HMGET', head, 'epoch', 'seq', 'run', 'holes', 'born')
local epoch, seq, last_run, holes, born = h[1], tonumber(h[2] or 0), h[3], h[4] or '', tonumber(h[5] or now)

-- A reason to begin anew: clients are told that history is gone.
local gone = not epoch
if epoch and run ~= last_run then
  -- Another server, or the same one after a restart: it may lack the last events that were given. Go on with ids that
  -- nobody can have been given, whatever was lost: not more ids than RATE can have been given since the epoch began.
  local _, count = string.gsub(holes, '%-', '')
  local to = math.max(seq + 1, (now - born + (count + 1) * SKEW) * RATE)
  holes = holes .. (holes == '' and '' or ',') .. whole(seq + 1) .. '-' .. whole(to)
  seq = to - 1
  gone = count + 1 > MAX_HOLES
  redis.call('HSET', head, 'seq', whole(seq), 'run', run, 'holes', holes)
end
if epoch and known == epoch then
  -- This node has seen what is not there, or knows another past than this one: history has gone back.
  seen = tonumber(seen)
  if seen > seq or string.sub(holes, 1, #holes_known) ~= holes_known then gone = true end
  for from, to in string.gmatch(holes, '(%d+)%-(%d+)') do
    if seen >= tonumber(from) and seen < tonumber(to) then gone = true end
  end
end
if gone then
  epoch, seq, holes = fresh, 0, ''
  redis.call('DEL', head)
  redis.call('HSET', head, 'epoch', epoch, 'seq', 0, 'run', run, 'holes', '', 'born', whole(now), 'tick', 0)
  redis.call('PUBLISH', P .. 'all', 'n ' .. epoch)
end
redis.call('PEXPIRE', head, keep)

local reply = {epoch, whole(seq), holes}
for _, part in ipairs(redis.call('ZRANGEBYSCORE', P .. 'blocks', '(' .. whole(now), '+inf', 'WITHSCORES')) do
  reply[#reply + 1] = part
end
return reply
