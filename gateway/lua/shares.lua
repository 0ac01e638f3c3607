-- Tells callers who send more than their share of the calls of strangers: so many of each connection, and
-- so many of each address, in a second and for each worker thread.

local M = {}

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

-- Returns a function that counts the call that is begun, and tells whether it is within both shares.
--
-- What a connection sends beyond its own is not counted for its address. `per_connection` may be 0
-- for no limit, where many callers share connections. `now` tells the time in seconds.
function M.new(per_connection, per_address, now)
  local calls, second = {}, now()

  local function within(key, most)
    local count = (calls[key] or 0) + 1
    calls[key] = count
    return count <= most
  end

  return function(handle)
    local time = now()
    if time ~= second then calls, second = {}, time end
    local info = handle:streamInfo()
    if per_connection > 0 and not within(info:downstreamDirectRemoteAddress(), per_connection) then
      return false
    end
    -- A network has no port, so its key is none of a connection.
    return within(M.network(info:downstreamRemoteAddress()), per_address)
  end
end

return M
