//! The switch that stops all writes of the whole cluster: `kubectl -n node-failure-detector patch configmap
//! node-failure-detector --type merge -p '{"data":{"paused":"true"}}'`.

/// The data key of the ConfigMap [`crate::names::SETTINGS`].
pub const KEY: &str = "paused";

/// Whether this value stops the writes: everything but `false` and nothing does, as somebody who touched the switch
/// wanted it to stop.
#[must_use]
pub fn is_paused(value: Option<&str>) -> bool {
    !matches!(value.map(str::trim), None | Some("false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_touches_the_switch_stops_the_writes() {
        for (value, paused) in [
            (None, false),
            (Some("false"), false),
            (Some(" false\n"), false),
            (Some("true"), true),
            (Some("True"), true),
            (Some("yes"), true),
            (Some(""), true),
        ] {
            assert_eq!(is_paused(value), paused, "{value:?}");
        }
    }
}
