-- Invites through REST, each with an address and an idempotency key of its own; says what came of
-- it as one line of JSON. Arguments: token, reseller, and a seed that no other run has.

local token, reseller, seed
local number = 0

function init(arguments)
  token, reseller, seed = arguments[1], arguments[2], arguments[3]
  wrk.method = "POST"
  wrk.headers["Authorization"] = "Bearer " .. token
  wrk.headers["Content-Type"] = "application/json"
end

-- The fields of PERSON in requests.py.
local body = '{"resellerId":"%s","name":"Horns and Hooves",'
  .. '"invitationEmail":"customer-%s%010d@example.com","person":{"name":"Horns and Hooves",'
  .. '"phone":"+74951234567","email":"office@example.com","postCode":"119021",'
  .. '"postAddress":"Moscow, Leo Tolstoy street, 16","tin":"7707083893"}}'

function request()
  number = number + 1
  wrk.headers["Idempotency-Key"] = string.format("%s-0000-4000-a000-%012x", seed, number)
  return wrk.format("POST", "/billing/v1/customers:invite", nil,
    string.format(body, reseller, seed, number))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"seconds":%.6f,"calls":%d,"failed":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
