//! The listener for metrics, health and the status page: HTTP/1, on a loopback address or a Unix
//! socket, for reading alone.
//!
//! It owns when the listener is opened, exchanged and opened again. The socket is `listener`'s, a
//! connection `connection`'s, and what is answered `pages`'.

mod connection;
mod listener;
mod pages;
mod request;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use self::listener::HttpListener;
use crate::{nexthop::Address, server::files_watch::FilesWatch};

pub(crate) use self::{listener::problem, pages::Pages};

/// The listener, if the configuration has one.
pub(crate) struct HttpServer {
    pages: Arc<Pages>,
    /// Where what is wrong is noted.
    files: Arc<FilesWatch>,
    /// Of all connections, also of listeners that were exchanged.
    permits: Arc<Semaphore>,
    state: Mutex<HttpState>,
}

#[derive(Default)]
struct HttpState {
    /// As the configuration in force has it.
    wanted: Option<Address>,
    /// None: it is not wanted, or could not be opened.
    open: Option<OpenListener>,
}

/// A listener that answers; it ends when this is dropped.
struct OpenListener {
    listener: Arc<HttpListener>,
    _end: DropGuard,
}

/// The effect of a reload on the listener.
pub(crate) enum Prepared {
    Unchanged,
    Closed,
    Opened(Address, HttpListener),
}

impl HttpServer {
    pub(crate) fn new(pages: Arc<Pages>, files: Arc<FilesWatch>) -> Self {
        Self {
            pages,
            files,
            permits: Arc::new(Semaphore::new(connection::CONNECTIONS_MAX)),
            state: Mutex::default(),
        }
    }

    /// `/ready` reports from now on that the daemon takes no new mail.
    pub(crate) fn begin_stop(&self) {
        self.pages.begin_stop();
    }

    /// Opens the listener at `address` when the daemon starts. Mail does not depend on it: what
    /// fails is logged, and tried again.
    pub(crate) fn begin(&self, address: Option<Address>) {
        self.state().wanted = address;
        self.try_open();
    }

    /// Opens the listener that a configuration wants which is to be put in force, unless it is open
    /// already.
    ///
    /// # Errors
    /// Why it cannot be opened, as a sentence.
    pub(crate) fn prepare(&self, address: Option<&Address>) -> Result<Prepared, String> {
        let state = self.state();
        match address {
            None => Ok(Prepared::Closed),
            Some(address) if state.wanted.as_ref() == Some(address) => Ok(Prepared::Unchanged),
            Some(address) => {
                let opened = HttpListener::open(address);
                opened.map(|listener| Prepared::Opened(address.clone(), listener)).map_err(|error| {
                    format!("http.listen: cannot listen on {address}: {:#}", anyhow::Error::new(error))
                })
            }
        }
    }

    /// Puts it in force; the listener before it takes no further connection.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        match prepared {
            Prepared::Unchanged => {}
            Prepared::Closed => *self.state() = HttpState::default(),
            Prepared::Opened(address, listener) => {
                let open = self.answer(&address, listener);
                *self.state() = HttpState { wanted: Some(address), open: Some(open) };
            }
        }
        self.note();
    }

    /// Opens the listener again where that failed, or where its socket was removed. Ends with the
    /// future: the socket of the listener is closed then.
    pub(crate) async fn keep(self: Arc<Self>) {
        let _end = EndWith(&self);
        loop {
            sleep(RETRY).await;
            self.close_removed();
            self.try_open();
        }
    }

    fn close_removed(&self) {
        let mut state = self.state();
        if state.open.as_ref().is_some_and(|open| open.listener.is_removed()) {
            warn!("the socket of http.listen was removed: it is made again");
            state.open = None;
        }
    }

    fn try_open(&self) {
        let mut state = self.state();
        if let (Some(address), None) = (&state.wanted, &state.open) {
            match HttpListener::open(address) {
                Ok(listener) => state.open = Some(self.answer(address, listener)),
                Err(error) => {
                    let problem = format!("cannot listen on {address}: {:#}", anyhow::Error::new(error));
                    drop(state);
                    return self.files.note(SETTING, Some(Err(problem)));
                }
            }
        }
        drop(state);
        self.note();
    }

    /// Nothing is wrong.
    fn note(&self) {
        self.files.note(SETTING, None);
    }

    fn answer(&self, address: &Address, listener: HttpListener) -> OpenListener {
        info!(%address, "listening for HTTP");
        let (listener, end) = (Arc::new(listener), CancellationToken::new());
        let accept =
            connection::accept(Arc::clone(&listener), Arc::clone(&self.pages), Arc::clone(&self.permits));
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(accept).await });
        OpenListener { listener, _end: end.drop_guard() }
    }

    /// Nothing here is left half done.
    fn state(&self) -> MutexGuard<'_, HttpState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the listener when it is dropped.
struct EndWith<'a>(&'a HttpServer);

impl Drop for EndWith<'_> {
    fn drop(&mut self) {
        *self.0.state() = HttpState::default();
    }
}

/// The setting, as problems begin with it.
const SETTING: &str = "http.listen";
/// Pause before the listener is opened again.
const RETRY: Duration = Duration::from_secs(5);
