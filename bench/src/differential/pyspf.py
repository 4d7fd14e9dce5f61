"""What pyspf makes of the cases of `cargo xtask differential spf`: as it is, and mended.

It reads lines of JSON from its input: first the port of the DNS server on ::1, then a case each. For each case it
writes a line with two objects, of pyspf as it is and of the mended one, each with the result, what pyspf says about it,
and the explanation. No other server is asked.

A difference that the mended pyspf does not show comes from what is mended here, and from nothing else.
"""

import importlib.util
import json
import sys
import types

import dns.exception
import dns.name
import dns.resolver

# What pyspf does, and what RFC 7208 says it should do.
MENDS = [
    # 5.2: a record that includes itself fails when it is reached, at the limit of terms, and not before
    ("                if arg == self.d:\n", "                if False:\n"),
    # 12: `%%` may stand at the end
    ("r'(?<!%)%[^{%_-]|%$'", "r'^(?:[^%]|%[{%_-])*%(?![{%_-])'"),
    # 12: letters mean the same in both cases
    ("r'([0-9]*)(r?)([^0-9a-zA-Z]*)'", "r'([0-9]*)([rR]?)([^0-9a-zA-Z]*)'"),
    # 7.3: a number of parts is not zero
    ("    if ln: expansion = ", "    if ln and not int(ln): raise PermError('invalid-macro-char ', str)\n    if ln: expansion = "),
    # 7.3: the parts are joined with dots, with any delimiter between them
    ("JOINERS.get(letter)", "'.'"),
    # 7.3: labels are removed until the name fits, not one
    ("            if len(result) > 253:\n", "            while stripdot and len(result) > 253 and '.' in result:\n"),
    # 6: unknown modifiers may occur more than once
    ("            if mod in modifiers:\n", "            mod = mod.lower()\n            if mod in modifiers and mod in ('exp', 'redirect'):\n"),
    # 4.6.4: a redirect that is not followed asks nothing
    ("                self.check_lookups()\n                redirect = self", "                redirect = self"),
    ("                redirect_record = self.dns_spf(redirect)\n",
     "                self.check_lookups()\n                redirect_record = self.dns_spf(redirect)\n"),
]

# What stands for the time in an explanation.
TIME = "TIME"


class Servers(list):
    """The names of mail servers, whose addresses are looked up one by one until one matches."""


def can_be_asked(name):
    """Whether a question is sent at all, which is what may be void."""
    return all(0 < len(label) < 64 for label in name.rstrip(".").split("."))


def mended(spf):
    class Query(spf.query):
        """Counts a term for which DNS has nothing once, and names that cannot be asked for never."""

        def dns(self, name, qtype, cnames=None, ignore_void=False):
            found = super().dns(name, qtype, cnames, True)
            counts = can_be_asked(name)
            if not found and not ignore_void and counts:
                self.void = True
            return found

        def dns_txt(self, name, rr="TXT", ignore_void=False):
            return super().dns_txt(name, rr, True)

        def count_void(self):
            self.void_lookups += self.void
            self.void = False
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("Void lookup limit exceeded")

        def check_lookups(self):
            self.void = False
            super().check_lookups()

        def dns_a(self, name, kind="A"):
            found = super().dns_a(name, kind)
            if not getattr(self, "gathering", False):
                self.count_void()
            return found

        def dns_mx(self, name):
            servers = self.dns(name, "MX", ignore_void=True)
            if len(servers) > spf.MAX_MX:
                raise spf.PermError("More than %d MX records returned" % spf.MAX_MX)
            self.void = not servers
            return Servers(server for _, server in sorted(servers) if server)

        def cidrmatch(self, addresses, length):
            if not isinstance(addresses, Servers):
                return super().cidrmatch(addresses, length)
            any_found = False
            self.gathering = True
            try:
                for server in addresses:
                    found = self.dns_a(server, self.A)
                    if super().cidrmatch(found, length):
                        return True
                    any_found = any_found or bool(found)
            finally:
                self.gathering = False
            # 4.6.4: the term is void, not one of its servers
            if any_found:
                self.void = False
            self.count_void()
            return False

        def pointers(self):
            """5.5: a DNS error means that there is no such name."""
            try:
                return self.dns_ptr(self.i)[: spf.MAX_PTR]
            except spf.TempError:
                return []

        def leads_back(self, name):
            self.gathering = True
            try:
                return super().cidrmatch(self.dns_a(name, self.A), self.cidrmax)
            except spf.TempError:
                return False
            finally:
                self.gathering = False

        def validated_ptrs(self):
            names = self.pointers()
            self.void = not names
            self.count_void()
            return [name for name in names if self.leads_back(name)]

        def getp(self):
            """7.3: which name is best depends on the domain, which changes."""
            void = self.void
            names = [name.lower() for name in self.pointers() if self.leads_back(name)]
            self.void = void
            below = [name for name in names if name.endswith("." + self.d.lower())]
            same = [name for name in names if name == self.d.lower()]
            self.p = (same + below + names + ["unknown"])[0]
            return self.p

        void = False

    return Query


def pyspf(mends):
    """pyspf as a module of its own, with parts of its text replaced."""
    file = importlib.util.find_spec("spf").origin
    with open(file, encoding="utf-8") as source:
        text = source.read()
    for before, after in mends:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    module = types.ModuleType("spf")
    exec(compile(text, file, "exec"), module.__dict__)
    return module


def lookup_at(port, spf):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["::1"]
    resolver.port = port

    def lookup(name, kind, tcpfallback=True, timeout=30):
        found = []
        try:
            absolute = dns.name.Name([label.encode("latin-1") for label in name.split(".")] + [b""])
            for data in resolver.resolve(absolute, kind, lifetime=5, search=False):
                if kind in ("A", "AAAA"):
                    found.append(((name, kind), data.address))
                elif kind == "MX":
                    found.append(((name, kind), (data.preference, data.exchange.to_text(True))))
                elif kind == "PTR":
                    found.append(((name, kind), data.target.to_text(True)))
                elif kind == "TXT":
                    found.append(((name, kind), data.strings))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.name.LabelTooLong, dns.name.NameTooLong):
            pass
        except dns.exception.DNSException as error:
            raise spf.TempError("DNS " + str(error))
        return found

    return lookup


def judged(spf, query, case):
    query = query(i=case["client"], s=case["sender"], h=case["helo"], receiver="gate.example", strict=True)
    query.set_default_explanation("DEFAULT")
    try:
        result, _, text = query.check()
    except Exception as error:
        return {"result": "crash", "said": repr(error), "explanation": None}
    failed = result == "fail" and text != "DEFAULT"
    return {"result": result, "said": text, "explanation": text.replace(query.t, TIME) if failed else None}


port = json.loads(sys.stdin.readline())
plain, better = pyspf([]), pyspf(MENDS)
for module in (plain, better):
    module.DNSLookup = lookup_at(port, module)
kinds = [(plain, plain.query), (better, mended(better))]
for line in sys.stdin:
    print(json.dumps([judged(*kind, json.loads(line)) for kind in kinds]))
