//! Requests: which are answered, and the refusals of the others.
//!
//! It reads heads of requests, and no body.

use std::net::IpAddr;

use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode, Version,
    body::Bytes,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    http::request::Parts,
};

/// An answer with a whole body.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A request that may be answered.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(super) path: String,
    /// What follows the question mark.
    pub(super) query: String,
    /// Whether the client takes OpenMetrics.
    pub(super) takes_open_metrics: bool,
}

/// Why a request is not answered.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum RequestRefusal {
    /// It is not for reading.
    Method,
    /// It names no host, or another one.
    Host,
}

impl Request {
    /// Checks a request's head. With `has_host` the client has to name this host: a page of a
    /// foreign site that had its name lead here ("DNS rebinding") names that site.
    ///
    /// # Errors
    /// [`RequestRefusal`].
    pub(super) fn check(head: &Parts, has_host: bool) -> Result<Self, RequestRefusal> {
        if has_host && !names_this_host(head) {
            return Err(RequestRefusal::Host);
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(RequestRefusal::Method);
        }
        let accept = head.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Ok(Self {
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            takes_open_metrics: accept
                .into_iter()
                .any(|value| value.contains("application/openmetrics-text")),
        })
    }
}

fn names_this_host(head: &Parts) -> bool {
    let mut named = head.headers.get_all(HOST).iter();
    let of_field = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_this_host),
        (None, _) => head.version == Version::HTTP_10,
        (Some(_), Some(_)) => false,
    };
    of_field && head.uri.authority().is_none_or(|authority| is_this_host(authority.as_str()))
}

/// Whether `host`, with or without a port, is a name or an address of this host alone. A port may
/// be another one, by forwarding.
fn is_this_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
}

/// The answer to a request that is not answered otherwise.
pub(super) fn refuse(refusal: &RequestRefusal) -> Answer {
    match refusal {
        RequestRefusal::Method => {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            answer
        }
        RequestRefusal::Host => text(
            StatusCode::MISDIRECTED_REQUEST,
            "the request names another host: use localhost, 127.0.0.1 or [::1]\n",
        ),
    }
}

/// An answer of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

/// An answer, with the fields that each has: it is kept nowhere, framed nowhere, and may load
/// what this listener has only.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A page takes its style and its icon from this listener, and sends its search there; it runs no
/// script, and loads nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Request, RequestRefusal> {
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Request::check(&request.body(()).unwrap().into_parts().0, true)
    }

    #[test]
    fn a_name_of_another_host_is_refused() {
        for host in ["localhost", "localhost:9625", "LOCALHOST.:1", "127.0.0.1:9625", "[::1]", "[::1]:80"] {
            assert!(checked("GET", "/", &[("host", host)]).is_ok(), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "[::1",
            "192.0.2.1",
            "::1",
        ] {
            assert_eq!(checked("GET", "/", &[("host", host)]), Err(RequestRefusal::Host), "{host}");
        }
        assert_eq!(checked("GET", "/", &[]), Err(RequestRefusal::Host));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(checked("GET", "/", &two), Err(RequestRefusal::Host));
        let foreign = checked("GET", "http://evil.example/", &[("host", "localhost")]);
        assert_eq!(foreign, Err(RequestRefusal::Host));
    }

    #[test]
    fn what_is_not_for_reading_is_refused() {
        let host = [("host", "localhost")];
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
            assert_eq!(checked(method, "/", &host), Err(RequestRefusal::Method), "{method}");
        }
        assert_eq!(checked("HEAD", "/a?q=b", &host).unwrap().query, "q=b");
    }
}
