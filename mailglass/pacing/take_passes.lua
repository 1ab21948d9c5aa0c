-- Gives each item a pass in all of its buckets or in none: what mailglass.take_passes does in Postgres, on
-- Redis' clock, in microseconds. KEYS are the buckets; ARGV[1] says what is asked, as JSON.
local patience = 5000000
local asked = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local moment = asked.at or (tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
local states = {}

for i, spec in ipairs(asked.buckets) do
  local held = redis.call('HMGET', KEYS[i], 'full', 'line1', 'line2', 'line3', 'awaited', 'day', 'used')
  local state = {
    full = tonumber(held[1]) or 0,
    lines = {tonumber(held[2]) or 0, tonumber(held[3]) or 0, tonumber(held[4]) or 0},
    awaited = tonumber(held[5]) or 0,
    day = tonumber(held[6]) or 0,
    used = tonumber(held[7]) or 0,
  }
  if state.awaited + patience < moment then state.lines = {0, 0, 0} end
  local today = spec.days[#spec.days]
  for n = #spec.days, 1, -1 do
    if moment < spec.days[n].ends then today = spec.days[n] end
  end
  if state.day < today.number then
    state.day, state.used = today.number, 0
  end
  -- A clock that was set back goes on with the day that was counted.
  for _, day in ipairs(spec.days) do
    if day.number == state.day then today = day end
  end
  state.maximum, state.ends = today.maximum, today.ends
  states[i] = state
end

local answers = {}
for place, item in ipairs(asked.items) do
  local may_at, why = moment, nil
  if item.pause > 0 then
    may_at, why = moment + item.pause, 'paused'
  end
  local turns = {}
  for _, ask in ipairs(item.asks) do
    if not ask.counted then
      local spec, state, at = asked.buckets[ask.bucket], states[ask.bucket], moment
      if spec.interval then
        at = state.full + math.floor((ask.cost - spec.burst) * spec.interval + 0.5)
        if asked.plans then
          for rank = 1, item.rank do at = math.max(at, state.lines[rank]) end
        end
        turns[ask.bucket] = at
      end
      if state.maximum and (state.maximum == 0
          or state.used + math.min(ask.cost, state.maximum) > state.maximum) then
        at = math.max(at, state.ends)
      end
      if at > may_at then
        may_at, why = at, spec.name
      end
    end
  end
  local is_taken = may_at <= moment + asked.hold
  local due_at = may_at
  for _, ask in ipairs(item.asks) do
    local spec, state = asked.buckets[ask.bucket], states[ask.bucket]
    if item.returns and spec.interval then
      state.awaited = math.max(state.awaited, moment + ask.cost * spec.interval)
    end
    if is_taken then
      state.used = state.used + ask.cost
      if spec.interval then
        state.full = math.max(state.full, may_at) + ask.cost * spec.interval
      end
    elseif asked.plans and spec.interval and not ask.counted then
      turns[ask.bucket] = math.max(turns[ask.bucket], state.lines[item.rank + 1])
      due_at = math.max(due_at, turns[ask.bucket])
    end
  end
  if asked.plans and not is_taken then
    for _, ask in ipairs(item.asks) do
      local spec, state = asked.buckets[ask.bucket], states[ask.bucket]
      if turns[ask.bucket] == due_at and not ask.counted then
        state.lines[item.rank + 1] = due_at + ask.cost * spec.interval
        state.awaited = math.max(state.awaited,
          state.full + math.floor((ask.cost - spec.burst) * spec.interval + 0.5))
      end
    end
  end
  answers[place] = {is_taken and 1 or 0, string.format('%.0f', due_at - moment), is_taken and '' or why}
end

local function whole(number) return string.format('%.0f', number) end
for i, state in ipairs(states) do
  redis.call('HSET', KEYS[i], 'full', whole(state.full), 'line1', whole(state.lines[1]),
    'line2', whole(state.lines[2]), 'line3', whole(state.lines[3]), 'awaited', whole(state.awaited),
    'day', whole(state.day), 'used', whole(state.used))
  local kept = math.max(moment, state.full, state.lines[1], state.lines[2], state.lines[3], state.ends)
  redis.call('PEXPIRE', KEYS[i], whole(math.floor((kept - moment) / 1000) + 86400000))
end
return answers
