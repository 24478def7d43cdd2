-- The request that wrk sends: one IPP operation, POSTed again and again.
--
--   wrk -s ask.lua URL -- FILE
--
-- One rule: an answer counts only when its HTTP status is 200 and its IPP status is successful-ok or one of its two
-- kin (RFC 8011 appendix B.1.2). FILE holds the octets of the request. The last line is JSON; times in microseconds.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/ipp"
  wrk.body = file:read("*a")
  file:close()
  wrong = 0
end

function response(status, _, body)
  if status ~= 200 or body:byte(3) ~= 0 or body:byte(4) > 2 then
    wrong = wrong + 1
  end
end

function done(summary, latency, _)
  local errors, good = summary.errors, summary.requests
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do
    good, failed = good - thread:get("wrong"), failed + thread:get("wrong")
  end
  io.write(string.format('{"good": %d, "failed": %d, "took": %d, "middle": %.1f, "late": %.1f}\n',
    good, failed, summary.duration, latency:percentile(50), latency:percentile(95)))
end
