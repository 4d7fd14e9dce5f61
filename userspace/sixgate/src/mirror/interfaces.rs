//! The daemon's chore about its interfaces: when to look, and what of it is logged.
//!
//! `control` looks through the interfaces and changes them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use sixgate_dataplane::{NetworkWatch, watch_network};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::{
    control::{Looked, Notice, Urgency},
    mirror::follow::Mirror,
    store_view::StoreView,
};

/// Looks for ever after the interfaces: at once when the network changes, and once a second for
/// what the kernel does not tell, such as a link that was detached or pins that were removed.
pub(crate) async fn keep_interfaces(mirror: Arc<Mirror>, store: Arc<StoreView>) {
    let Some(mut keeper) = mirror.keeper() else {
        mirror.settle();
        return;
    };
    let mut watch = watch_network().inspect_err(|error| warn!("{UNWATCHED}: {error}")).ok();
    let mut has_changed = true;
    loop {
        let (store, now) = (Arc::clone(&store), Instant::now());
        let look = move || {
            let looked = keeper.look(has_changed, now, &*store);
            (keeper, looked)
        };
        let looked;
        (keeper, looked) = match tokio::task::spawn_blocking(look).await {
            Ok(done) => done,
            Err(error) => {
                mirror.set_problems(vec![format!("{ABANDONED}: restart the daemon")]);
                mirror.settle();
                error!("{ABANDONED}, restart the daemon: {error}");
                return;
            }
        };
        let Looked { notices, reconcile, responder, problems } = looked;
        mirror.set_problems(problems);
        notices.into_iter().for_each(log);
        if mirror.refresh_maps().await || reconcile {
            mirror.follow(true).await;
        }
        if let Some(responder) = responder {
            let _ = sd_notify::notify(&[NotifyState::Status(&responder)]);
        }
        mirror.settle();
        has_changed = changed(&mut watch).await;
    }
}

/// Waits for a change of the network, or for the time of the next look; whether it was a change, or
/// may have been one. Changes that come together are one.
async fn changed(watch: &mut Option<NetworkWatch>) -> bool {
    let Some(network) = watch else {
        sleep(POLL_UNWATCHED).await;
        return true;
    };
    match timeout(POLL, network.changed()).await {
        Err(_) => false,
        Ok(Ok(())) => {
            sleep(SETTLE).await;
            true
        }
        Ok(Err(error)) => {
            warn!("{UNWATCHED}: {:#}", anyhow::Error::new(error));
            *watch = None;
            true
        }
    }
}

fn log(notice: Notice) {
    let text = notice.text;
    match notice.urgency {
        Urgency::Info => info!("{text}"),
        Urgency::Warning => warn!("{text}"),
        Urgency::Error => error!("{text}"),
    }
}

const ABANDONED: &str = "the network interfaces are no longer watched";
const UNWATCHED: &str = "cannot watch the network interfaces: checking them every 2 s instead";
/// Pause between two looks while the network does not change.
const POLL: Duration = Duration::from_secs(1);
/// The same where the kernel sends no notices of changes.
const POLL_UNWATCHED: Duration = Duration::from_secs(2);
/// How long changes are waited for that come together with one: so often, at most, all interfaces
/// are listed.
const SETTLE: Duration = Duration::from_millis(200);
