//! Replaces the ordinary XDP program by the traced one, for a time.
//!
//! It owns that the ordinary one comes back. The caller decides for whom, and how long.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use sixgate_dataplane::{Pins, Trace, TracedSegment};

use super::{Control, ControlError, MAPS_WAIT};

/// The traced program at work. Dropped, it puts the ordinary program back as well as it can;
/// [`Self::stop`] reports whether that succeeded.
pub struct Tracing {
    pins: Pins,
    trace: Trace,
    interfaces: Vec<String>,
    is_stopped: bool,
}

impl Control {
    /// Replaces the ordinary program by the traced one on each interface, for segments to port 25
    /// whose source and destination lie in these prefixes.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`]; the ordinary program runs everywhere then.
    pub fn trace(&self, source: Ipv6Net, destination: Option<Ipv6Net>) -> Result<Tracing, ControlError> {
        let everywhere = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);
        // without the lock: a verifier may work for seconds, and commands wait for it
        let mut trace = Trace::load(&self.pins, &self.loader, source, destination.unwrap_or(everywhere))?;
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        let interfaces = trace.start()?;
        Ok(Tracing { pins: self.pins.clone(), trace, interfaces, is_stopped: false })
    }
}

impl Tracing {
    /// The names of the interfaces whose program is traced.
    #[must_use]
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// The segments that were logged since the last call.
    pub fn take(&mut self) -> Vec<TracedSegment> {
        self.trace.take()
    }

    /// How many segments have matched until now, logged or not.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub fn matched(&self) -> Result<u64, ControlError> {
        Ok(self.trace.matched()?)
    }

    /// Whether the traced program still runs: attaching and detaching take its place.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub fn is_running(&self) -> Result<bool, ControlError> {
        Ok(self.trace.is_running()?)
    }

    /// Puts the ordinary program back wherever the traced one runs.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`]: attaching puts it back, too.
    pub fn stop(mut self) -> Result<(), ControlError> {
        self.put_back()
    }

    fn put_back(&mut self) -> Result<(), ControlError> {
        self.is_stopped = true;
        // where the pins were removed, the program is off its interfaces
        let _lock = self.pins.lock_maps_if_any(MAPS_WAIT)?;
        Ok(self.trace.stop()?)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if !self.is_stopped {
            // no caller is left to get the error
            let _ = self.put_back();
        }
    }
}
