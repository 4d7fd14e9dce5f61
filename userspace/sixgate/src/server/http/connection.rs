//! Connections of HTTP clients: one request and one answer each, within bounds.
//!
//! The answers are `pages`'.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    listener::{HttpListener, Stream},
    pages::Pages,
    request::{self, Request},
};

/// Accepts for ever. Clients above the bound wait in the kernel's queue.
pub(super) async fn accept(listener: Arc<HttpListener>, pages: Arc<Pages>, permits: Arc<Semaphore>) {
    let has_host = listener.has_host();
    loop {
        // it is never closed
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok(stream) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    // a client that takes too long or breaks off has no use for the rest
                    let _ = timeout(CONNECTION_TIMEOUT, serve(stream, &pages, has_host)).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn serve(stream: Box<dyn Stream>, pages: &Arc<Pages>, has_host: bool) -> hyper::Result<()> {
    let respond = |request: hyper::Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        // a request for reading has none that matters
        drop(body);
        Ok::<_, Infallible>(match Request::check(&head, has_host) {
            Ok(request) => pages.respond(request).await,
            Err(refusal) => request::refuse(&refusal),
        })
    };
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_SIZE_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(respond))
        .await
}

/// Connections at one time.
pub(super) const CONNECTIONS_MAX: usize = 16;
/// How long a client may take for the head of its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, with its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Octets of a request's head.
const HEADER_SIZE_MAX: usize = 16 * 1024;
/// Fields of a request.
const HEADERS_MAX: usize = 64;
/// Pause after an accept that failed for want of a resource.
const PAUSE: Duration = Duration::from_millis(100);
