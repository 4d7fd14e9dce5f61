//! The source of facts about the XDP program and its maps for commands that read: the maps where
//! this process may open them, else the running daemon, which answers members of its group.
//!
//! It owns which of the two is used, and what is reported if neither can be. The contents of the
//! facts are `control`'s business; how the daemon transmits them is `server`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use ipnet::Ipv6Net;
use sixgate_common::stat::Stat;
use sixgate_dataplane::{FlowRecord, PtrRecord};

use crate::{
    config::Config,
    control::{self, Control, ControlError, Facts, FactsRequest, GuardOrigin, KernelRefusals, Status},
    server::{self, AskError},
};

/// Facts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// By this process.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There are none.
    #[error(
        "the XDP program is not attached, so that there are no maps: `sixgate attach --iface IFACE` attaches it"
    )]
    NotAttached,
    /// Neither by this process nor by the daemon.
    #[error("this user may not open the BPF maps, {}", without_daemon(source))]
    NoRights {
        /// Why the daemon did not read them.
        source: AskError,
    },
    /// The daemon refused to read them.
    #[error("this user may not open the BPF maps, and the daemon does not read them: {reason}")]
    Refused {
        /// The daemon's reason.
        reason: String,
    },
    /// The daemon's answer is not one to the request.
    #[error("the daemon gave an answer that this version does not know: restart it")]
    OddAnswer,
}

/// The remedy where the daemon does not read the maps for this user.
fn without_daemon(error: &AskError) -> String {
    match error {
        AskError::NoDaemon { path, .. } => format!(
            "and no daemon answers at {}: run the command as root, or start the daemon (`systemctl start sixgate`)",
            path.display()
        ),
        AskError::NoRights { path, .. } => format!(
            "and may not use the daemon's control socket {}: run the command as root, or as a member of the socket's \
             group",
            path.display()
        ),
        _ => "and the daemon did not read them: run the command as root".to_owned(),
    }
}

/// The source of facts of one configuration. Nothing is opened yet.
pub(crate) struct KernelFacts<'a> {
    control: &'a Control,
    socket: PathBuf,
}

impl<'a> KernelFacts<'a> {
    pub(crate) fn new(config: &Config, control: &'a Control) -> Self {
        Self { control, socket: config.control_socket() }
    }

    /// Every counter of the program, in the order of [`Stat::ALL`].
    ///
    /// # Errors
    ///
    /// [`FactsError`].
    pub(crate) fn counters(&self) -> Result<Vec<(Stat, u64)>, FactsError> {
        match self.one(FactsRequest::Counters)? {
            Facts::Counters { counters } => {
                // a daemon of another version may lack some
                let known = |stat: Stat| Some((stat, *counters.get(stat.name())?));
                Ok(Stat::ALL.into_iter().filter_map(known).collect())
            }
            _ => Err(FactsError::OddAnswer),
        }
    }

    /// The connections that the program refuses, and the tags, the oldest first.
    ///
    /// # Errors
    ///
    /// [`FactsError`].
    pub(crate) fn flows(&self) -> Result<Vec<FlowRecord>, FactsError> {
        let mut found = Vec::new();
        self.each(FactsRequest::Flows, &mut |facts| match facts {
            Facts::Flows { flows } => {
                found.extend(flows);
                Ok(())
            }
            _ => Err(FactsError::OddAnswer),
        })?;
        Ok(FlowRecord::sorted(found))
    }

    /// All records of the PTR map, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// [`FactsError`].
    pub(crate) fn ptr_records(&self) -> Result<Vec<PtrRecord>, FactsError> {
        self.records(FactsRequest::PtrRecords)
    }

    /// The PTR map's record of one address, if there is one.
    ///
    /// # Errors
    ///
    /// [`FactsError`].
    pub(crate) fn ptr_record(&self, source: Ipv6Addr) -> Result<Option<PtrRecord>, FactsError> {
        Ok(self.records(FactsRequest::PtrRecord { source })?.into_iter().next())
    }

    fn records(&self, request: FactsRequest) -> Result<Vec<PtrRecord>, FactsError> {
        let mut found = Vec::new();
        self.each(request, &mut |facts| match facts {
            Facts::PtrRecords { records } => {
                found.extend(records);
                Ok(())
            }
            _ => Err(FactsError::OddAnswer),
        })?;
        Ok(PtrRecord::sorted(found))
    }

    /// Whether the program refuses, and what it knows about `source`; none if it is not attached.
    ///
    /// # Errors
    ///
    /// [`FactsError`].
    pub(crate) fn refusals(&self, source: Ipv6Addr) -> Result<Option<KernelRefusals>, FactsError> {
        match self.one(FactsRequest::Refusals { source }) {
            Ok(Facts::Refusals { refusals }) => Ok(Some(*refusals)),
            Ok(_) => Err(FactsError::OddAnswer),
            Err(FactsError::NotAttached) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The prefixes that are ours now, each with its origin.
    ///
    /// # Errors
    ///
    /// [`FactsError`].
    pub(crate) fn guard(&self) -> Result<BTreeMap<Ipv6Net, GuardOrigin>, FactsError> {
        let indices: BTreeSet<u32> = match self.one(FactsRequest::Interfaces)? {
            Facts::Interfaces { indices } => indices,
            _ => return Err(FactsError::OddAnswer),
        };
        Ok(self.control.guard_of(&indices)?)
    }

    /// The status of store, maps and interfaces: the daemon's, where this process may not look at
    /// the maps and the daemon answers.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub(crate) fn status(&self, verify: bool) -> Result<Status, ControlError> {
        let status = self.control.status(verify)?;
        if status.pins_readable {
            return Ok(status);
        }
        let mut found = None;
        let asked = from_daemon(&self.socket, FactsRequest::Status { verify }, &mut |facts| {
            if let Facts::Status { mut status, is_guard_empty } = facts {
                status.is_guard_empty = is_guard_empty;
                found = Some(*status);
            }
            Ok(())
        });
        Ok(asked.ok().and(found).unwrap_or(status))
    }

    /// The only answer to `request`.
    fn one(&self, request: FactsRequest) -> Result<Facts, FactsError> {
        let mut found = None;
        self.each(request, &mut |facts| {
            found = Some(facts);
            Ok(())
        })?;
        found.ok_or(FactsError::OddAnswer)
    }

    /// Gives `take` all parts of the answer.
    fn each(&self, request: FactsRequest, take: TakeEach<'_>) -> Result<(), FactsError> {
        let mut taken = Ok(());
        let read = self.control.facts(request, &mut |facts| {
            taken = attached(facts).and_then(&mut *take);
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match read {
            Err(error) if error.is_about_rights() => from_daemon(&self.socket, request, take),
            read => read.map_err(FactsError::from).and(taken),
        }
    }
}

/// The settings in the maps that decide about refusals: from the pins in `bpffs`, or by the daemon
/// at `socket`. Empty where they cannot be read.
pub(crate) fn kernel_settings(bpffs: &Path, socket: &Path) -> BTreeMap<String, String> {
    let mut found = control::kernel_settings(bpffs).unwrap_or_default();
    if found.is_empty() {
        // why there are none is reported by the status
        let _ = from_daemon(socket, FactsRequest::Settings, &mut |facts| {
            if let Facts::Settings { settings } = facts {
                found = settings;
            }
            Ok(())
        });
    }
    found
}

/// What takes each part of an answer.
type TakeEach<'a> = &'a mut dyn FnMut(Facts) -> Result<(), FactsError>;

fn from_daemon(socket: &Path, request: FactsRequest, take: TakeEach<'_>) -> Result<(), FactsError> {
    let failed = |source| FactsError::NoRights { source };
    let mut answers = server::facts(socket, request).map_err(failed)?;
    loop {
        match answers.wait().map_err(failed)? {
            Facts::Complete => return Ok(()),
            Facts::Refused { reason } => return Err(FactsError::Refused { reason }),
            facts => take(attached(facts)?)?,
        }
    }
}

fn attached(facts: Facts) -> Result<Facts, FactsError> {
    match facts {
        Facts::NotAttached => Err(FactsError::NotAttached),
        facts => Ok(facts),
    }
}
