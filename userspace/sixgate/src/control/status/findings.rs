//! Problems of interfaces and pins, and warnings of settings and lists that are likely not meant.
//!
//! It reads only, and forms the sentences.

use sixgate_common::settings;
use sixgate_dataplane::{self as dataplane, AttachedLink, DataplaneError, Maps};

use crate::{
    config::Domains,
    control::{Control, ControlError, no_destination, no_domain, wanted::Wanted},
    store::StoreCounts,
};

impl Control {
    /// Links that do nothing here, and interfaces of the configuration on which the program does
    /// not run.
    pub(super) fn interface_problems(
        &self,
        links: &[AttachedLink],
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<(), DataplaneError> {
        let configured = self.configured();
        for name in &configured.interfaces {
            let found = dataplane::interface_called(name.as_str())?;
            let state = self.state_of(name, found.as_ref(), links)?;
            match state {
                Wanted::Attached => {}
                Wanted::HeldOff | Wanted::Renamed(_) => warnings.push(state.sentence(name)),
                Wanted::Missing | Wanted::Free => problems.push(state.sentence(name)),
                Wanted::Occupied => problems.push(match dataplane::occupant(name.as_str())? {
                    Some(error) => error.to_string(),
                    None => state.sentence(name),
                }),
            }
        }
        let is_configured =
            |link: &&AttachedLink| configured.interfaces.iter().any(|name| name.as_str() == link.recorded);
        for link in links.iter().filter(|link| !is_configured(link)) {
            problems.extend(link.lost.map(|lost| {
                format!(
                    "the XDP program does not run on {}: {lost}; `sixgate attach` or `sixgate detach`",
                    link.interface
                )
            }));
        }
        if let Err(error) = self.pins.check_file_system() {
            let is_wanted = !configured.interfaces.is_empty();
            problems.extend(is_wanted.then(|| error.to_string()));
        }
        Ok(())
    }

    /// Settings and entries that are likely not meant, without looking at the maps: for commands
    /// that attach.
    ///
    /// # Errors
    ///
    /// [`ControlError::Store`].
    pub fn doubts(&self) -> Result<Vec<String>, ControlError> {
        let counts = self.store.open()?.counts()?;
        let is_shadow = self.configured().settings.mode != settings::MODE_ENFORCE;
        Ok(self.policy_warnings(is_shadow, &counts))
    }

    /// One warning for each list without which mail is refused.
    pub(super) fn policy_warnings(&self, is_shadow: bool, counts: &StoreCounts) -> Vec<String> {
        let configured = self.configured();
        let lacks_domain = counts.domains == 0 && configured.domains == Domains::Listed;
        let domain = lacks_domain.then(|| no_domain(is_shadow && configured.next_hop_judges));
        let destination = (!counts.opts_anything_in).then(|| no_destination(is_shadow));
        domain.into_iter().chain(destination).collect()
    }

    pub(super) fn size_warnings(&self, maps: &Maps) -> Vec<String> {
        let (made, configured) = (maps.sizes(), self.sizes);
        [
            ("optin_entries", made.optin, configured.optin),
            ("ptr_entries", made.ptr, configured.ptr),
            ("flow_entries", made.flows, configured.flows),
        ]
        .into_iter()
        .filter(|(_, made, configured)| made != configured)
        .map(|(key, made, configured)| {
            format!(
                "{key} is {configured} in the configuration, but the map has {made}: \
                 `sixgate detach && systemctl restart sixgate`"
            )
        })
        .collect()
    }
}
