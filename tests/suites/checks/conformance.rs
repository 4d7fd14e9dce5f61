//! The runner of foreign SPF suites reads both ways in which they are written.

use std::io::Write as _;

use sixgate_tests::conformance::{self, Summary};

/// As the openspf suites, and as the Go package spf has them: faults as settings, no `helo` where
/// it does not matter.
const SUITE: &str = r"
---
description: openspf
tests:
  silent: {helo: a.example, host: 192.0.2.1, mailfrom: a@silent.example, result: temperror}
  partly: {helo: a.example, host: 192.0.2.1, mailfrom: a@partly.example, result: pass}
zonedata:
  silent.example:
  - TIMEOUT
  partly.example:
  - SPF: v=spf1 +all
  - TIMEOUT
---
description: Go
tests:
  silent: {host: 192.0.2.1, mailfrom: a@silent.example, result: temperror}
  partly: {host: 192.0.2.1, mailfrom: a@partly.example, result: pass}
  unset: {host: 192.0.2.1, mailfrom: a@unset.example, result: none}
  failing: {host: 192.0.2.1, mailfrom: a@failing.example, result: temperror}
  circle: {host: 192.0.2.1, mailfrom: a@circle.example, result: temperror}
zonedata:
  silent.example:
  - TIMEOUT: true
  partly.example:
  - SPF: v=spf1 +all
  - TIMEOUT: true
  unset.example:
  - TIMEOUT: false
  - A: 192.0.2.1
  failing.example:
  - SERVFAIL: true
  circle.example:
  - CNAMELOOP: true
";

#[test]
fn suites_are_read_as_openspf_and_as_go_write_them() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(SUITE.as_bytes()).unwrap();
    let wanted = Summary { cases: 7, right: 7, ..Summary::default() };
    assert_eq!(conformance::spf(file.path()).unwrap(), wanted);
    file.write_all(b"  other.example:\n  - MISSING: true\n").unwrap();
    let refused = format!("{:#}", conformance::spf(file.path()).unwrap_err());
    assert!(refused.contains("unknown fault: MISSING"), "{refused}");
}
