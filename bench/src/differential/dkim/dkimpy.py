"""What dkimpy signs and verifies for `cargo xtask differential dkim`.

It reads a line of JSON with the port of the DNS server on ::1 and the keys, then requests, a line each, and answers
each with a line. It asks no other server.
"""

import base64
import json
import sys

import dkim
import dns.resolver


def sign(request):
    kind = request["algorithm"]
    line = dkim.DKIM(base64.b64decode(request["message"]), signature_algorithm=kind.encode()).sign(
        request["selector"].encode(),
        b"a.example",
        keys[kind].encode(),
        canonicalize=tuple(form.encode() for form in request["canonicalize"]),
        include_headers=[name.encode() for name in request["names"]],
        length=request["length"],
    )
    return {"field": base64.b64encode(line).decode()}


def verify(request):
    try:
        passes = dkim.DKIM(base64.b64decode(request["message"])).verify()
        return {"passes": bool(passes), "said": ""}
    except dkim.DKIMException as error:
        return {"passes": False, "said": str(error)[:200]}
    except Exception as error:
        return {"passes": False, "said": "crash: " + repr(error)[:200]}


start = json.loads(sys.stdin.readline())
keys = start["keys"]
dns.resolver.default_resolver = dns.resolver.Resolver(configure=False)
dns.resolver.default_resolver.nameservers = ["::1"]
dns.resolver.default_resolver.port = start["port"]
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(sign(request) if "algorithm" in request else verify(request)), flush=True)
