-- Tells calls whose token the server has lately accepted from all others, so that those who forge
-- tokens stand in a line of their own, and those of callers who send very many from the rest. It
-- decides on the order of calls alone: the server checks each.

local shares = require("shares")

local M = {}

-- The request header that routes look at, the name of a cluster; callers can't send it, and a route
-- sets it on answers. The response header by which the server says that a call that it refuses
-- is one of a caller that it knows.
local LINE, KNOWN = "x-token-line", "x-token-known"
local METADATA = "known_tokens"
-- Of a route, and one of its values; see gateway/known_tokens.py.
local KIND, LASTING = "kind", "lasting"
local find = string.find
local USUAL = "^Bearer [^ =]+=?=?$"

-- Returns the functions that Envoy calls for each request, and for each answer.
--
-- A worker thread remembers tokens of `most_bytes` in all, for once or twice `lifetime_s`: what is
-- older than the one is dropped as a whole. A token with which more than `ordinary` calls come in a
-- second is a busy caller's. Of those under way a token may have as many as `most` says for the route's
-- kind; more are refused. `enter` has a call with an unknown token stand in a line, or refuses it. `now`
-- tells the time in seconds.
function M.new(most_bytes, lifetime_s, ordinary, most, enter, now)
  local fresh, old, bytes, since = {}, {}, 0, now()
  local calls, second = {}, since
  local room_for_calls, room_for_lasting = shares.room(most.native), shares.room(most.lasting)

  -- Returns how many the token has under way, or nil, as the function of shares.room.
  local function noted(handle, token)
    local kind = handle:metadata():get(KIND)
    if kind == LASTING then return room_for_lasting(handle, token, token) end
    local fewer = not kind and most.rest or nil
    return room_for_calls(handle, token, token, fewer)
      -- A request of HTTP/1.1 has a connection of its own, which are few.
      or fewer and handle:streamInfo():protocol() ~= "HTTP/2" and room_for_calls(handle, token, token) or nil
  end

  local function renew()
    old, fresh, bytes, since = fresh, {}, 0, now()
  end

  local function on_request(handle)
    local time = now()
    if time ~= second then
      calls, second = {}, time
      if time - since >= lifetime_s then renew() end
    end
    local headers = handle:headers()
    local token = headers:get("authorization")
    if not token then return end
    if fresh[token] or old[token] then
      if not shares.let_in(handle, noted(handle, token)) then return end
      local count = (calls[token] or 0) + 1
      calls[token] = count
      if count > ordinary then
        headers:replace(LINE, "busy_callers")
        handle:clearRouteCache()
      end
      return
    end
    if not enter(handle, "unknown_tokens") then return end
    handle:streamInfo():dynamicMetadata():set(METADATA, "token", token)
  end

  local function on_response(handle)
    local headers = handle:headers()
    -- The route of unknown tokens sets it; to ask for what was noted takes longer.
    if not headers:get(LINE) then return end
    local noted = handle:streamInfo():dynamicMetadata():get(METADATA)
    if not noted then return end
    -- A native call that is not refused has its status later.
    local accepted = headers:get(":status") == "200" and (headers:get("grpc-status") or "0") == "0"
    if not accepted and not headers:get(KNOWN) then return end
    -- Spelt in other ways, one token would count as many.
    if not find(noted.token, USUAL) then return end
    fresh[noted.token] = true
    bytes = bytes + #noted.token
    if bytes >= most_bytes then renew() end
  end

  return on_request, on_response
end

return M
