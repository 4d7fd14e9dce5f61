//! Attaching where the daemon lacks the rights for it: it asks another process, and looks what
//! came of that.
//!
//! The request is `attach_request`'s; the other process is `sixgate attach --configured`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    failures::Failures,
    notice::{Looked, Urgency},
};
use crate::{config::InterfaceName, control::attach_request::AttachRequest};

/// The requests that are under way.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<InterfaceName, Times>);

/// When an interface was asked for.
#[derive(Clone, Copy, Debug)]
struct Times {
    first: Instant,
    last: Instant,
}

impl Asked {
    /// Nothing is to be attached to `name` any more.
    pub(super) fn forget(&mut self, name: &InterfaceName) {
        self.0.remove(name);
    }

    /// Asks once for what is attached to be brought up to date. It goes on refusing meanwhile.
    pub(super) fn ask_to_renew(&self, request: &AttachRequest, looked: &mut Looked) {
        if let Err(error) = request.make() {
            let path = request.path().display();
            looked
                .note(Urgency::Warning, format!("cannot make the request {path}: {error}: `sixgate attach`"));
        }
    }

    /// Asks for the interfaces that are due, at most once in [`AGAIN`], and notes how it stands.
    pub(super) fn ask(
        &mut self,
        request: &AttachRequest,
        due: &[InterfaceName],
        now: Instant,
        failures: &mut Failures,
        looked: &mut Looked,
    ) {
        let is_waiting = request.is_waiting();
        let is_to_ask = due.iter().any(|name| self.0.get(name).is_none_or(|asked| now >= asked.last + AGAIN));
        let failed = if is_to_ask { request.make().err() } else { None };
        for name in due {
            let times = self.0.entry(name.clone()).or_insert(Times { first: now, last: now });
            if is_to_ask {
                times.last = now;
            }
            let (urgency, text) = if let Some(error) = &failed {
                (
                    Urgency::Error,
                    format!("cannot make the request {}: {error}; {ALONE}", request.path().display()),
                )
            } else if now < times.first + WAIT {
                (Urgency::Info, "sixgate-attach.service is asked to attach the XDP program".to_owned())
            } else if is_waiting {
                (
                    Urgency::Error,
                    format!(
                        "no process takes the request to attach the XDP program: \
                         `systemctl enable --now sixgate-attach.path`, or `sixgate attach`; {ALONE}"
                    ),
                )
            } else {
                (
                    Urgency::Error,
                    format!(
                        "the XDP program is still not attached: `journalctl -u sixgate-attach` has the reason; {ALONE}"
                    ),
                )
            };
            failures.note(name.as_str(), (urgency, format!("{name}: {text}"), None), now, looked);
        }
    }
}

const ALONE: &str = "the daemon decides alone there and tries again";
/// How long a request may take: the verifier of an old kernel works for seconds.
const WAIT: Duration = Duration::from_secs(15);
/// After what time it is made again: the interface may have been made again meanwhile.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_asked_for_once_and_what_does_not_help_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let request = AttachRequest::of(&directory.path().join("control"));
        let due: Vec<InterfaceName> = vec!["eth0".parse().unwrap()];
        let (mut asked, mut failures, start) = (Asked::default(), Failures::default(), Instant::now());
        let mut ask = |seconds, request: &AttachRequest| {
            let mut looked = Looked::default();
            asked.ask(request, &due, start + Duration::from_secs(seconds), &mut failures, &mut looked);
            looked.notices.into_iter().map(|notice| notice.text).collect::<Vec<_>>()
        };
        let first = ask(0, &request);
        assert_eq!(first, ["eth0: sixgate-attach.service is asked to attach the XDP program"]);
        assert!(request.is_waiting());
        std::fs::remove_file(request.path()).unwrap();
        assert!(ask(3, &request).is_empty());
        assert!(!request.is_waiting(), "it is not asked again at once");
        assert!(ask(16, &request)[0].contains("`journalctl -u sixgate-attach` has the reason"));
        assert!(request.is_waiting());
        assert!(ask(33, &request)[0].contains("no process takes the request"));
        let nowhere = AttachRequest::of(&directory.path().join("missing/control"));
        assert!(ask(60, &nowhere)[0].contains("cannot make the request"));
    }
}
