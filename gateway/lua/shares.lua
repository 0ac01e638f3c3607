-- Tells callers who send more than their share of the calls of strangers: so many of each connection, and
-- so many of each address, in a second and for each worker thread; and so many of each address at once.

local open_requests = require("open_requests")

local M = {}

-- The header by which routes take their cluster, and two of its values; CROWDED is a route's name.
local LINE, BUSY, CROWDED = "x-token-line", "busy_strangers", "crowded"

local gmatch, gsub, match, rep = string.gmatch, string.gsub, string.match, string.rep

-- The first four groups of an IPv6 address: a caller has its whole /64.
local function half(address)
  local head, tail = match(address, "^(.-)::(.*)$")
  if head then
    local _, before = gsub(head, "%x+", "")
    local _, after = gsub(tail, "%x+", "")
    address = head .. rep(":0", 8 - before - after) .. ":" .. tail
  end
  local groups, number = {}, 0
  for group in gmatch(address, "%x+") do
    number = number + 1
    groups[number] = group
    if number == 4 then break end
  end
  return table.concat(groups, ":")
end

-- Returns whom an address with its port, as Envoy writes it, counts for.
function M.network(address)
  local ipv6 = match(address, "^%[([^%]%%]*)")
  if not ipv6 then return match(address, "^[^:]*") end
  return match(ipv6, "^::ffff:(%d+%..*)$") or half(ipv6)
end

-- Returns whether a call was let in, of which the function of `room` says that there are so many under way; it
-- is refused, by gateway/replies.py, where that is nil. What packs an answer takes 200 KB until that is read,
-- so who has more than a few gets theirs unpacked.
function M.let_in(handle, under_way)
  if not under_way then
    handle:headers():replace(LINE, CROWDED)
    handle:clearRouteCache()
    handle:respond({ [":status"] = "429" }, "")
    return false
  end
  if under_way > open_requests.FEW then handle:headers():remove("accept-encoding") end
  return true
end

-- Returns the function of open_requests.lua by the clock of Envoy.
function M.room(most)
  return open_requests.new(most, function(handle) return tonumber(handle:timestamp()) end)
end

-- Returns a function that counts the call that is begun, and sets the header LINE to the line that it is to
-- stand in: the `ordinary` one within both shares, "busy_strangers" beyond. Without an `ordinary` one, for
-- what Envoy answers itself, it keeps its route: by what other filters have changed it would get another.
-- Where there is no room, by open_requests.lua, the function refuses the call, and returns false.
--
-- What a connection sends beyond its own is not counted for its address. `per_connection` may be 0
-- for no limit, where many callers share connections. `now` tells the time in seconds.
function M.new(per_connection, per_address, most_open, now)
  local calls, second = {}, now()
  local has_room = M.room(most_open)

  local function within(key, most)
    local count = (calls[key] or 0) + 1
    calls[key] = count
    return count <= most
  end

  local function line(connection, network, ordinary)
    if per_connection > 0 and not within(connection, per_connection) then return BUSY end
    -- A network has no port, so its key is none of a connection.
    return within(network, per_address) and ordinary or BUSY
  end

  return function(handle, ordinary)
    local time = now()
    if time ~= second then calls, second = {}, time end
    local info = handle:streamInfo()
    local connection = info:downstreamDirectRemoteAddress()
    local network = M.network(info:downstreamRemoteAddress())
    if not M.let_in(handle, has_room(handle, network, connection)) then return false end
    if ordinary then
      handle:headers():replace(LINE, line(connection, network, ordinary))
      handle:clearRouteCache()
    end
    return true
  end
end

return M
