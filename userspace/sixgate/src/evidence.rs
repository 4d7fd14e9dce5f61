//! The checks' findings about a sender, as the policy takes them.
//!
//! It translates; what it means for a message is decided in `sixgate_smtp::policy`.

use sixgate_auth::{
    dkim::{DkimResult, DkimSignature, TESTING_KEY},
    ptr::{PtrResult, Unanswered},
    spf::{SpfResult, SpfResults},
};
use sixgate_smtp::policy::evidence::{CheckOutcome, PtrOutcome};

/// Reverse DNS of the client.
pub(crate) fn of_ptr(ptr: &PtrResult) -> PtrOutcome {
    match ptr {
        PtrResult::Pass { .. } => PtrOutcome::Confirmed,
        PtrResult::Fail { .. } => PtrOutcome::NotConfirmed,
        PtrResult::TempError(Unanswered::Names { .. }) => PtrOutcome::ConfirmationUnknown,
        PtrResult::TempError(Unanswered::Record) => PtrOutcome::Unknown,
        PtrResult::NoRecord => PtrOutcome::NoRecord,
    }
}

/// SPF of the MAIL FROM identity. That of HELO decides nothing.
pub(crate) fn of_spf(spf: &SpfResults) -> CheckOutcome {
    match spf.mail_from.result {
        SpfResult::Pass => CheckOutcome::Pass,
        SpfResult::TempError => CheckOutcome::TempError,
        SpfResult::None
        | SpfResult::Neutral
        | SpfResult::Fail
        | SpfResult::SoftFail
        | SpfResult::PermError => CheckOutcome::NoPass,
    }
}

/// The outcome of one signature's check.
pub(crate) fn of_dkim(signature: &DkimSignature) -> CheckOutcome {
    match signature.result {
        DkimResult::Pass => CheckOutcome::Pass,
        DkimResult::TempError => CheckOutcome::TempError,
        _ if signature.reason == Some(TESTING_KEY) => CheckOutcome::TestingKey,
        DkimResult::Fail | DkimResult::Neutral | DkimResult::Policy | DkimResult::PermError => {
            CheckOutcome::NoPass
        }
    }
}

#[cfg(test)]
mod tests {
    use sixgate_auth::spf::{SpfCheck, SpfReason};

    use super::*;

    #[test]
    fn the_helo_identity_never_decides() {
        let check = |result| SpfCheck::new("a.example".to_owned(), result, SpfReason::NoMatch);
        let spf = |helo, mail_from| of_spf(&SpfResults { helo: check(helo), mail_from: check(mail_from) });
        assert_eq!(spf(SpfResult::Pass, SpfResult::None), CheckOutcome::NoPass);
        assert_eq!(spf(SpfResult::TempError, SpfResult::Fail), CheckOutcome::NoPass);
        assert_eq!(spf(SpfResult::Fail, SpfResult::Pass), CheckOutcome::Pass);
        assert_eq!(spf(SpfResult::Pass, SpfResult::TempError), CheckOutcome::TempError);
    }
}
