//! The configuration of refusals, in the form that the XDP program takes.
//!
//! It holds values; it opens no map and reads no file.

use std::sync::{Arc, RwLock};

use sixgate_common::{
    refuse::ReplyId,
    reply::Reply,
    settings::{self, Revision, Settings},
};
use sixgate_dataplane::AttachMode;
use sixgate_smtp::policy::Mode;

use super::replies::compile_replies;
use crate::config::{Config, Domains, InterfaceName, ResponderSetting};

/// The part of the configuration that may change while the daemon runs. It changes under the lock
/// on the maps, so that the maps never get a part of one configuration and a part of another.
#[derive(Clone, Debug)]
pub(super) struct Configured {
    pub(super) domains: Domains,
    /// Whether the next hop decides about recipients in shadow mode.
    pub(super) next_hop_judges: bool,
    /// `ready`, `generation` and `shown` in it do not matter.
    pub(super) settings: Settings,
    pub(super) replies: Vec<(ReplyId, Reply)>,
    /// The interfaces that the program is to run on, and in which mode.
    pub(super) interfaces: Vec<InterfaceName>,
    pub(super) attach_mode: AttachMode,
}

impl From<&Config> for Configured {
    fn from(config: &Config) -> Self {
        Self {
            domains: config.domains,
            next_hop_judges: config.policy().next_hop_judges,
            settings: settings(config),
            replies: compile_replies(&config.reply_table()),
            interfaces: config.xdp.interfaces.clone(),
            attach_mode: config.xdp.mode,
        }
    }
}

/// The present one, the same for all clones of a [`Control`](super::Control).
pub(super) type Present = Arc<RwLock<Arc<Configured>>>;

/// The configuration as the XDP program takes it, not ready yet.
fn settings(config: &Config) -> Settings {
    Settings {
        mode: match config.mode {
            Mode::Enforce => settings::MODE_ENFORCE,
            Mode::Shadow => settings::MODE_SHADOW,
        },
        answer: match config.answer {
            ResponderSetting::Kernel => settings::ANSWER_KERNEL,
            ResponderSetting::Daemon => settings::ANSWER_DAEMON,
        },
        refuse_at: config.refuse_at.number(),
        ready: 0,
        generation: 0,
        cookie: 0,
        shown: Revision::NONE,
    }
}
