-- Tells who has too many requests under way: begun, waiting, or answered and not read.
--
-- Nothing tells a script that a request is over. But Envoy holds its handle until then, so a list that does
-- not keep its values from the garbage collector has lost the handle after the next collection.

local M = {}

local floor, max = math.floor, math.max
local WEAK = { __mode = "v" }
-- A collection with a thousand requests under way takes 1 ms.
local LEAST_PAUSE_MS = 50

-- Puts what is left of a list to its front; returns how many that are.
local function packed(list)
  local count = 0
  for place = 1, list.last do
    local handle = list[place]
    if handle then
      list[place], count = nil, count + 1
      list[count] = handle
    end
  end
  list.last = count
  return count
end

-- Counts a network's requests anew; returns how many there are.
local function count(network)
  network.total, network.size = 0, 0
  for connection, list in pairs(network.lists) do
    local open = packed(list)
    if open == 0 then
      network.lists[connection] = nil
    else
      network.total, network.size = network.total + open, network.size + 1
    end
  end
  return network.total
end

-- Returns a function that notes a request of a connection, and tells whether there is room for it.
--
-- Of each network, for each worker thread, `most` have room. Beyond that its connections have equal shares of
-- a quarter of that, at least one request each, so that who shares an address with a greedy one is let in.
-- `now_ms` tells the time of a handle.
function M.new(most, now_ms)
  local networks, noted, collected = {}, 0, 0

  local function collect(time)
    collectgarbage()
    noted, collected = 0, time
    for name, network in pairs(networks) do
      if count(network) == 0 then networks[name] = nil end
    end
  end

  -- Returns the network and its list for the connection.
  local function found(name, connection)
    local network = networks[name]
    if not network then
      network = { lists = {}, total = 0, size = 0 }
      networks[name] = network
    end
    local list = network.lists[connection]
    if not list then
      list = setmetatable({ last = 0 }, WEAK)
      network.lists[connection], network.size = list, network.size + 1
    end
    return network, list
  end

  return function(handle, name, connection)
    local network = networks[name]
    if noted >= most or network and network.total >= most then
      local time = now_ms(handle)
      if noted >= most or time - collected >= LEAST_PAUSE_MS then collect(time) end
    end
    local list
    network, list = found(name, connection)
    if network.total >= most and list.last >= max(1, floor(most / 4 / network.size)) then return false end
    list.last = list.last + 1
    list[list.last] = handle
    network.total, noted = network.total + 1, noted + 1
    return true
  end
end

return M
