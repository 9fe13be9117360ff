//! Places where a test may kill the process, to prove that a restart continues as if nothing had happened.

/// Aborts the process here when the environment variable `COMPUTE_FUTURES_FAILPOINT` equals `name`.
///
/// Compiled in only with the cargo feature `failpoints`. `abort` runs no destructors and flushes nothing: what is left behind
/// is what a `kill -9` leaves.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::hit($name);
    };
}
pub(crate) use failpoint;

/// Aborts when this failpoint is the armed one.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    static ARMED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let armed = ARMED.get_or_init(|| std::env::var("COMPUTE_FUTURES_FAILPOINT").ok());
    if armed.as_deref() == Some(name) {
        tracing::error!(failpoint = name, "aborting at a failpoint");
        std::process::abort();
    }
}
