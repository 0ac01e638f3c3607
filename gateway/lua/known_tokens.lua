-- Tells calls whose token the server has lately accepted from all others, so that those who forge
-- tokens stand in a line of their own. It decides on the order of calls alone: the server checks each.

local M = {}

-- The request header that routes look at; callers can't send it. The response header by which the
-- server says that a call that it refuses is one of a caller that it knows.
local UNKNOWN, KNOWN = "x-token-unknown", "x-token-known"
local METADATA = "known_tokens"

-- Returns the functions that Envoy calls for each request, and for each answer.
--
-- A worker thread remembers tokens of `most_bytes` in all, for once or twice `lifetime_s`: what is
-- older than the one is dropped as a whole. `now` tells the time in seconds.
function M.new(most_bytes, lifetime_s, now)
  local fresh, old, bytes, since = {}, {}, 0, now()

  local function renew()
    old, fresh, bytes, since = fresh, {}, 0, now()
  end

  local function on_request(handle)
    if now() - since >= lifetime_s then renew() end
    local headers = handle:headers()
    local token = headers:get("authorization")
    if not token or fresh[token] or old[token] then return end
    headers:replace(UNKNOWN, "1")
    handle:clearRouteCache()
    handle:streamInfo():dynamicMetadata():set(METADATA, "token", token)
  end

  local function on_response(handle)
    local noted = handle:streamInfo():dynamicMetadata():get(METADATA)
    if not noted then return end
    local headers = handle:headers()
    -- A native call that is not refused has its status later.
    local accepted = headers:get(":status") == "200" and (headers:get("grpc-status") or "0") == "0"
    if not accepted and not headers:get(KNOWN) then return end
    fresh[noted.token] = true
    bytes = bytes + #noted.token
    if bytes >= most_bytes then renew() end
  end

  return on_request, on_response
end

return M
