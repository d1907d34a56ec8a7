//! Step 1, the endpoints: those on a condemned node are made not ready, and again as often as somebody makes them so.

use crate::identity::MemberId;
use crate::profile::SLICE_LOOKS;
use crate::remedy::Remedy;
use crate::remedy::calls::Purpose;
use crate::remedy::case::Case;
use crate::remedy::command::{Call, Standing};
use crate::time::Instant;

impl Remedy {
    /// One patch a slice.
    pub(super) fn patch_slices(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let whom = self.whom(subject, case);
        case.quiet.extend(case.reads.opted_out());
        let except = case.quiet.clone();
        let calls: Vec<Call> = self
            .slices
            .ready_on(&whom.node, &except)
            .filter(|(slice, _)| {
                let key = (slice.namespace.clone(), slice.name.clone());
                !case.patching.contains(&key)
            })
            .map(|(slice, positions)| Call::Slice {
                namespace: slice.namespace.clone(),
                name: slice.name.clone(),
                node: whom.node.clone(),
                positions,
            })
            .collect();
        for call in calls {
            if let Call::Slice { namespace, name, .. } = &call {
                let key = (namespace.clone(), name.clone());
                case.patching.insert(key.clone());
                let guard = whom.guard(Standing::Condemned, Instant::NEVER);
                self.call(&whom, Some(guard), call, Purpose::Slice(key.0, key.1), now);
            }
        }
    }

    /// The EndpointSlice controller makes endpoints ready again while their pods are.
    pub(super) fn look_at_slices(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        if slices_due(case) <= now
            && let Some((_, next)) = &mut case.slices
        {
            *next += 1;
            self.patch_slices(subject, case, now);
        }
    }
}

/// When the slices are read again.
pub(super) fn slices_due(case: &Case) -> Instant {
    let look = case
        .slices
        .and_then(|(since, next)| SLICE_LOOKS.get(next).map(|&wait| since + wait));
    look.unwrap_or(Instant::NEVER)
}
