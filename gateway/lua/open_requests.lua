-- Tells who has too many requests under way: begun, waiting, or answered and not read.
--
-- Nothing tells a script that a request is over. But Envoy holds its handle until then, so a list that does
-- not keep its values from the garbage collector has lost the handle after the next collection.

local M = {}

local floor, max, min, clock = math.floor, math.max, math.min, os.clock
local WEAK = { __mode = "v" }
-- A collection with a thousand requests under way takes 1 ms. The pause after one is short where a network has
-- too many; from a few on it is longer, and a hundred times what the collection took of the processor.
local SHORT_PAUSE_MS, LONG_PAUSE_MS, LONG_PAUSES = 20, 50, 100
M.FEW = 32

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

-- Returns a function that notes a request of a connection, and tells how many its network has with it, those
-- among them that are over since the last collection; nil where there is no room for it.
--
-- Of each network, for each worker thread, `most` have room. Beyond that its connections have equal shares of
-- a quarter of that, at least one request each, so that who shares an address with a greedy one is let in.
-- A request may say that there is room for fewer with it. `now_ms` tells the time of a handle.
function M.new(most, now_ms)
  local few = min(M.FEW, most)
  local networks, noted, collected, pause = {}, 0, 0, 0

  local function collect(time)
    local began = clock()
    collectgarbage()
    pause = max(LONG_PAUSE_MS, LONG_PAUSES * 1000 * (clock() - began))
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

  return function(handle, name, connection, fewer)
    local network, room = networks[name], fewer or most
    if noted >= most or network and network.total >= few then
      local time = now_ms(handle)
      local since = time - collected
      if noted >= most or since >= pause or network.total >= room and since >= SHORT_PAUSE_MS then
        collect(time)
      end
    end
    local list
    network, list = found(name, connection)
    if network.total >= room and list.last >= max(1, floor(room / 4 / network.size)) then return nil end
    list.last = list.last + 1
    list[list.last] = handle
    network.total, noted = network.total + 1, noted + 1
    return network.total
  end
end

return M
