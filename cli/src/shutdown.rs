//! When to stop: Ctrl-C, SIGTERM.

use tokio_util::sync::CancellationToken;

/// Resolves at Ctrl-C or SIGTERM.
pub(crate) async fn requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// A token that is cancelled at Ctrl-C, SIGTERM, or when the parent is gone.
#[must_use]
pub(crate) fn token(with_parent: bool) -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        if with_parent {
            tokio::select! {
                () = requested() => {}
                () = crate::devnet::parent_gone() => {}
            }
        } else {
            requested().await;
        }
        cancel.cancel();
    });
    token
}
