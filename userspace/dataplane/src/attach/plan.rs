//! What attaching is asked for, and what is told of it.
//!
//! Plain data: what is done with it is `attach`'s.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sixgate_common::{
    refuse::ReplyId,
    reply::Reply,
    settings::{ANSWER_KERNEL, Settings},
};

use crate::{
    cookies::CookieSecret, error::DataplaneError, fallback_reason::FallbackReason, object::Sizes, pins::Pins,
    projection::Projection, topology::RunMode,
};

/// In which mode the program may run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver (native) if it can, else in the generic path.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// In the generic path only, also where the driver could do better.
    Generic,
}

impl AttachMode {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Native, Self::Generic];

    /// As it is written in files and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Everything that attaching needs to know.
#[derive(Clone, Debug)]
pub struct AttachPlan {
    /// The interfaces' names; alternative names are as good.
    pub interfaces: Vec<String>,
    /// In which mode; an interface on which the program runs already keeps its mode.
    pub mode: AttachMode,
    /// Bounds of the maps, if they have to be made.
    pub sizes: Sizes,
    /// The program's settings; `ready`, `generation` and `cookie` in them are ignored. Where the
    /// program is to answer by itself and cannot (see [`FallbackReason`]), the daemon answers.
    pub settings: Settings,
    /// The contents that the maps are to have.
    pub projection: Projection,
    /// The replies with which the program refuses.
    pub replies: Vec<(ReplyId, Reply)>,
    /// The key of cookies; none: the one that is there, or one that is drawn.
    pub cookie_key: Option<CookieSecret>,
    /// Where everything is pinned.
    pub pins: Pins,
}

/// The result of attaching to one interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    /// The interface's name.
    pub interface: String,
    /// In which mode the program runs.
    pub mode: RunMode,
    /// Why [`AttachMode::Auto`] fell back from native mode, as a short term.
    pub fallback: Option<String>,
    /// Whether a program ran there before.
    pub change: ProgramChange,
    /// What became of VLAN tags.
    pub tags: VlanTags,
    /// The directory of the pins of sixgate's program that ran there before, if it was another one.
    pub taken_from: Option<PathBuf>,
}

/// The change to an interface that strips VLAN tags, so that the program's answers go the way back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VlanTags {
    /// The interface was left as it is.
    Untouched,
    /// They were stripped, and no longer are.
    Kept,
}

/// What became of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProgramChange {
    /// The program is new there.
    New,
    /// It replaced a differing sixgate program, without a gap.
    Replaced,
    /// The very same program ran there already.
    Unchanged,
}

/// What became of the interfaces of a plan, each by itself.
#[derive(Debug, Default)]
pub struct AttachReport {
    /// Those on which the program runs.
    pub attached: Vec<Attached>,
    /// The interfaces on which the program could not be attached.
    pub failed: Vec<Failed>,
}

/// An interface on which the program could not be put.
#[derive(Debug)]
pub struct Failed {
    /// Its name as the plan has it.
    pub interface: String,
    /// Why attaching to it failed.
    pub error: DataplaneError,
}

/// How the program is put on an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttachManner {
    pub(super) mode: AttachMode,
    pub(super) responder: PlannedResponder,
}

/// Who is to answer refused senders, as far as it is known before the program runs anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PlannedResponder {
    /// The daemon, as it should.
    Daemon,
    /// The program, as it should.
    Kernel,
    /// The daemon, since the program cannot.
    Fallback,
}

impl PlannedResponder {
    pub(super) fn of(plan: &AttachPlan, fallback_reason: Option<&FallbackReason>) -> Self {
        match (plan.settings.answer, fallback_reason) {
            (ANSWER_KERNEL, None) => Self::Kernel,
            (ANSWER_KERNEL, Some(_)) => Self::Fallback,
            _ => Self::Daemon,
        }
    }
}
