//! Facts of the XDP program and its maps that commands show: the requests for them, and their
//! answers, which a process that may open the maps makes for itself or for another one.
//!
//! It changes nothing. Which process reads them is not its business.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    mem,
    net::Ipv6Addr,
    ops::ControlFlow,
};

use serde::{Deserialize, Serialize};
use sixgate_common::settings::{MODE_ENFORCE, READY};
use sixgate_dataplane::{DataplaneError, FlowRecord, PtrRecord};

use super::{Control, ControlError, Status, setting_names::by_key};

/// A request for facts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "facts", rename_all = "snake_case")]
pub enum FactsRequest {
    /// The program's counters.
    Counters,
    /// The connections that it refuses, and the tags.
    Flows,
    /// All records of the PTR map that still hold.
    PtrRecords,
    /// That of one address.
    PtrRecord {
        /// The address of the sender.
        source: Ipv6Addr,
    },
    /// Whether the program refuses, and what it knows about one address.
    Refusals {
        /// The address of the sender.
        source: Ipv6Addr,
    },
    /// The indices of the interfaces that it runs on.
    Interfaces,
    /// The settings in the maps that decide about refusals.
    Settings,
    /// Store, maps and interfaces, compared.
    Status {
        /// Whether they are compared entry by entry.
        verify: bool,
    },
}

/// An answer, or a part of a long one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Facts {
    /// The answer to [`FactsRequest::Counters`]: by the names of the counters.
    Counters {
        /// Each with its value.
        counters: BTreeMap<String, u64>,
    },
    /// The answer to [`FactsRequest::Flows`], in no order.
    Flows {
        /// A part of the connections.
        flows: Vec<FlowRecord>,
    },
    /// The answer to [`FactsRequest::PtrRecords`], in no order, and [`FactsRequest::PtrRecord`].
    PtrRecords {
        /// A part of the records.
        records: Vec<PtrRecord>,
    },
    /// The answer to [`FactsRequest::Refusals`].
    Refusals {
        /// Boxed: most answers are smaller.
        refusals: Box<KernelRefusals>,
    },
    /// The answer to [`FactsRequest::Interfaces`].
    Interfaces {
        /// The indices of the interfaces.
        indices: BTreeSet<u32>,
    },
    /// The answer to [`FactsRequest::Settings`].
    Settings {
        /// The settings by key.
        settings: BTreeMap<String, String>,
    },
    /// The answer to [`FactsRequest::Status`].
    Status {
        /// Boxed: it is much larger than the others.
        status: Box<Status>,
        /// Whether the program runs and guards no destination, which the status does not show.
        is_guard_empty: bool,
    },
    /// The program is not attached: there are no maps.
    NotAttached,
    /// The last answer of a daemon.
    Complete,
    /// The last answer of a daemon, which has not read all.
    Refused {
        /// Why it has not.
        reason: String,
    },
}

/// Whether the program refuses connections, and what it knows about one source.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KernelRefusals {
    /// Whether its mode is enforce.
    pub is_enforcing: bool,
    /// Whether its maps are ready.
    pub is_ready: bool,
    /// The responder to refused senders, `kernel` or `daemon`.
    pub responder: Cow<'static, str>,
    /// Why it is the daemon although it should be the kernel.
    pub fallback: Option<String>,
    /// The PTR map's record of the source.
    pub record: Option<PtrRecord>,
}

/// What takes the parts of an answer, until it breaks off.
pub type TakeFacts<'a> = &'a mut dyn FnMut(Facts) -> ControlFlow<()>;

impl ControlError {
    /// Whether the maps or their pins may not be opened by this process.
    #[must_use]
    pub const fn is_about_rights(&self) -> bool {
        matches!(self, Self::Dataplane(DataplaneError::NoRights { .. }))
    }
}

impl Control {
    /// Reads facts and gives them to `take`, a long answer in parts.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; that of rights before anything was given.
    pub fn facts(&self, request: FactsRequest, take: TakeFacts<'_>) -> Result<(), ControlError> {
        let answer = match request {
            FactsRequest::Status { verify } => {
                let status = Box::new(self.status(verify)?);
                Facts::Status { is_guard_empty: status.is_guard_empty, status }
            }
            FactsRequest::Interfaces => Facts::Interfaces { indices: self.attached_interfaces()? },
            FactsRequest::Flows => {
                let Some(maps) = self.maps()? else {
                    return not_attached(take);
                };
                let mut page = Vec::with_capacity(PAGE);
                maps.each_flow(&mut |flow| paged(&mut page, flow, |flows| take(Facts::Flows { flows })))?;
                Facts::Flows { flows: page }
            }
            FactsRequest::PtrRecords => {
                let Some(maps) = self.maps()? else {
                    return not_attached(take);
                };
                let mut page = Vec::with_capacity(PAGE);
                maps.each_ptr(&mut |record| {
                    paged(&mut page, record, |records| take(Facts::PtrRecords { records }))
                })?;
                Facts::PtrRecords { records: page }
            }
            FactsRequest::Counters
            | FactsRequest::PtrRecord { .. }
            | FactsRequest::Refusals { .. }
            | FactsRequest::Settings => self.short_facts(request)?,
        };
        // whether it breaks off does not matter any more
        let _ = take(answer);
        Ok(())
    }

    fn short_facts(&self, request: FactsRequest) -> Result<Facts, ControlError> {
        let Some(maps) = self.maps()? else {
            return Ok(Facts::NotAttached);
        };
        Ok(match request {
            FactsRequest::PtrRecord { source } => {
                Facts::PtrRecords { records: maps.ptr_get(source)?.into_iter().collect() }
            }
            FactsRequest::Refusals { source } => {
                let settings = maps.settings()?;
                let responder = self.responder()?;
                let (name, fallback) = match &responder {
                    Some(responder) => (responder.name(), responder.fallback_reason()),
                    None => return Ok(Facts::NotAttached),
                };
                Facts::Refusals {
                    refusals: Box::new(KernelRefusals {
                        is_enforcing: settings.mode == MODE_ENFORCE,
                        is_ready: settings.ready == READY,
                        responder: name.into(),
                        fallback,
                        record: maps.ptr_get(source)?,
                    }),
                }
            }
            FactsRequest::Settings => Facts::Settings { settings: by_key(&maps.settings()?) },
            _ => {
                let counters = maps.stats()?.into_iter();
                Facts::Counters {
                    counters: counters.map(|(stat, value)| (stat.name().to_owned(), value)).collect(),
                }
            }
        })
    }
}

fn not_attached(take: TakeFacts<'_>) -> Result<(), ControlError> {
    let _ = take(Facts::NotAttached);
    Ok(())
}

/// Adds a row to a page, and gives away the page once it is full.
fn paged<T>(page: &mut Vec<T>, row: T, give: impl FnOnce(Vec<T>) -> ControlFlow<()>) -> ControlFlow<()> {
    page.push(row);
    if page.len() < PAGE {
        return ControlFlow::Continue(());
    }
    give(mem::replace(page, Vec::with_capacity(PAGE)))
}

/// Rows of one part of an answer: some 80 KiB as JSON.
const PAGE: usize = 512;
